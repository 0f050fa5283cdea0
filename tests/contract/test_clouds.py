"""The sovereign clouds: the same tenant, scanned at each cloud's own hosts and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from azure.identity import AzureAuthorityHosts

from keydrift.adapters.cloud import CLOUDS, cloud_of
from keydrift.bootstrap import alert_sink, examined
from keydrift.doctor.examine import examine
from keydrift.doctor.facts import Status
from keydrift.model import PermissionModel, Scenario, State
from keydrift.scan import ScanResult, scan
from keydrift.settings import Settings
from keydrift_local.azure.hosts import DCR_HOST, RESOURCE_MANAGER
from keydrift_local.local_azure import LocalAzure
from support.azure import reading, serve
from support.queues_memory import ManualClock
from support.tenants import BACKUP_APP_ID, BACKUP_OBJECT_ID, SUBSCRIPTION, TENANT_ID, Document, guid, healthy

HOSTS = {
    "AzureCloud": {
        "management.azure.com",
        "graph.microsoft.com",
        "kv1.vault.azure.net",
        "hsm1.managedhsm.azure.net",
        "keydrift-dcr.westeurope-1.ingest.monitor.azure.com",
    },
    "AzureUSGovernment": {
        "management.usgovcloudapi.net",
        "graph.microsoft.us",
        "kv1.vault.usgovcloudapi.net",
        "hsm1.managedhsm.usgovcloudapi.net",
        "keydrift-dcr.usgovvirginia-1.ingest.monitor.azure.us",
    },
    "AzureChinaCloud": {
        "management.chinacloudapi.cn",
        "microsoftgraph.chinacloudapi.cn",
        "kv1.vault.azure.cn",
        "hsm1.managedhsm.azure.cn",
        "keydrift-dcr.chinanorth3-1.ingest.monitor.azure.cn",
    },
}
APP_IDS = {
    "AzureCloud": BACKUP_APP_ID,
    "AzureUSGovernment": "ff281ffe-705c-4f53-9f37-a40e6f2c68f3",
    "AzureChinaCloud": BACKUP_APP_ID,
}
SUFFIXES = {
    "AzureUSGovernment": (
        ("managedhsm.azure.net", "managedhsm.usgovcloudapi.net"),
        ("vault.azure.net", "vault.usgovcloudapi.net"),
    ),
    "AzureChinaCloud": (("managedhsm.azure.net", "managedhsm.azure.cn"), ("vault.azure.net", "vault.azure.cn")),
}
every_cloud = pytest.mark.parametrize("cloud", list(HOSTS))
every_model = pytest.mark.parametrize("model", list(PermissionModel))
IDENTITY = "127.0.0.1"


def in_cloud(cloud: str, model: PermissionModel, app_id: str | None = None) -> Document:
    """The healthy tenant of a confidential machine, with the cloud's addresses and its Backup application."""
    text = json.dumps(healthy(Scenario.CVM_CMK, model)).replace(BACKUP_APP_ID, app_id or APP_IDS[cloud])
    for public, own in SUFFIXES.get(cloud, ()):
        text = text.replace(public, own)
    document: dict[str, Any] = json.loads(text)
    return document | {"cloud": cloud}


async def scanned(settings: Settings) -> ScanResult:
    async with reading(settings=settings) as reads:
        return await scan(
            consumers=reads.consumers,
            bulk=reads.bulk,
            clock=ManualClock(),
            policy=reads.policy,
            subscriptions=[SUBSCRIPTION],
        )


def contacted(azure: LocalAzure) -> set[str]:
    return {request.host for request in azure.requests} - {IDENTITY}


@every_cloud
@every_model
async def test_a_cloud_is_scanned_at_its_own_hosts(azure: LocalAzure, cloud: str, model: PermissionModel) -> None:
    """Every key binding of a healthy tenant is held in each cloud, and no other cloud's host hears of it."""
    serve(azure, in_cloud(cloud, model))
    result = await scanned(Settings(cloud=cloud, tenant_id=TENANT_ID))
    assert {verdict.binding.scenario: verdict.state for verdict in result.verdicts} == {
        Scenario.CVM_CMK: State.HELD,
        Scenario.CVM_DES: State.HELD,
    }
    assert result.unread == ()
    assert contacted(azure) <= HOSTS[cloud]
    assert {RESOURCE_MANAGER[cloud], CLOUDS[cloud.lower()].graph} <= contacted(azure)


@pytest.mark.parametrize("cloud", list(SUFFIXES))
async def test_the_public_clouds_settings_do_not_fit_another(azure: LocalAzure, cloud: str) -> None:
    """The tenant of a sovereign cloud is not looked for with the public cloud's application id."""
    serve(azure, in_cloud(cloud, PermissionModel.RBAC, app_id=guid(99)))
    result = await scanned(Settings(cloud=cloud, tenant_id=TENANT_ID))
    assert {verdict.state for verdict in result.verdicts if verdict.binding.scenario is Scenario.CVM_CMK} == {State.LOST}


@every_cloud
async def test_the_application_id_is_a_setting(azure: LocalAzure, cloud: str) -> None:
    """`KEYDRIFT_BACKUP_APP_ID` overrides the cloud's default."""
    serve(azure, in_cloud(cloud, PermissionModel.RBAC, app_id=guid(99)))
    settings = Settings.from_environment({"KEYDRIFT_CLOUD": cloud, "KEYDRIFT_BACKUP_APP_ID": guid(99)})
    result = await scanned(settings)
    assert {verdict.state for verdict in result.verdicts} == {State.HELD}
    asked = [request.path for request in azure.requests if request.host == CLOUDS[cloud.lower()].graph]
    assert asked == [f"/v1.0/servicePrincipals(appId='{guid(99)}')"]


@every_cloud
@every_model
async def test_the_object_id_by_hand_needs_no_graph(azure: LocalAzure, cloud: str, model: PermissionModel) -> None:
    """With `KEYDRIFT_BACKUP_OBJECT_ID` everything is held though Microsoft Graph is never asked."""
    serve(azure, in_cloud(cloud, model))
    settings = Settings.from_environment({"KEYDRIFT_CLOUD": cloud, "KEYDRIFT_BACKUP_OBJECT_ID": BACKUP_OBJECT_ID})
    result = await scanned(settings)
    assert {verdict.state for verdict in result.verdicts} == {State.HELD}
    assert CLOUDS[cloud.lower()].graph not in contacted(azure)
    assert {verdict.principal.object_id for verdict in result.verdicts if verdict.principal} >= {BACKUP_OBJECT_ID}


@every_cloud
async def test_a_row_reaches_the_clouds_own_endpoint(azure: LocalAzure, cloud: str) -> None:
    """Alerts are sent with a token of the cloud's Azure Monitor, to the cloud's ingestion host."""
    serve(azure, in_cloud(cloud, PermissionModel.RBAC))
    environment = {**azure.environment, "KEYDRIFT_CLOUD": cloud}
    async with reading(settings=Settings.from_environment(environment)) as reads:
        await alert_sink(Settings.from_environment(environment), reads).send([{"Summary": "a row"}])
    assert contacted(azure) == {DCR_HOST[cloud]}
    assert [row["Summary"] for row in azure.logs.rows("KeyDriftAlerts_CL")] == ["a row"]


@every_cloud
async def test_the_doctor_stays_in_its_cloud(azure: LocalAzure, cloud: str, tmp_path: Path) -> None:
    """The doctor's own reads and its test row go to the cloud's hosts only, and find nothing wrong."""
    serve(azure, in_cloud(cloud, PermissionModel.MANAGED_HSM))
    given = {"KEYDRIFT_CLOUD": cloud, "KEYDRIFT_TENANT_ID": TENANT_ID, "KEYDRIFT_STATE": f"sqlite:{tmp_path}/state.db"}
    environment = {**azure.environment, **given}
    async with examined(Settings.from_environment(environment), environment, ManualClock()) as found:
        checks = await examine(found, send_test=True)
    assert {check.name: check.found for check in checks if check.status is not Status.OK} == {}
    assert contacted(azure) == {host for host in HOSTS[cloud] if not host.startswith("kv1.")}


@every_cloud
def test_an_address_tells_its_cloud(cloud: str) -> None:
    """A storage account's and a data collection rule's address belong to one cloud, a stranger's to none."""
    own = CLOUDS[cloud.lower()]
    assert cloud_of(f"https://account1.table.{own.storage_suffix}") is own
    assert cloud_of(f"https://{DCR_HOST[cloud]}") is own
    assert cloud_of(f"https://{own.storage_suffix}.example.com") is None
    assert cloud_of(f"sqlite:{own.storage_suffix}") is None


@every_cloud
def test_signing_in_asks_the_clouds_authority(cloud: str) -> None:
    """Each cloud's tokens are asked of the Entra host that azure-identity names for it."""
    authority = {
        "AzureCloud": AzureAuthorityHosts.AZURE_PUBLIC_CLOUD,
        "AzureUSGovernment": AzureAuthorityHosts.AZURE_GOVERNMENT,
        "AzureChinaCloud": AzureAuthorityHosts.AZURE_CHINA,
    }[cloud]
    assert CLOUDS[cloud.lower()].authority == authority
