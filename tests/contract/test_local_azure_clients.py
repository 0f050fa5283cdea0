"""Unmodified Azure SDK clients against the simulated tenant, at Azure's real host names."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError, ServiceRequestError
from azure.core.pipeline.transport import AioHttpTransport
from azure.identity.aio import ClientSecretCredential, ManagedIdentityCredential
from azure.mgmt.keyvault.aio import KeyVaultManagementClient
from azure.monitor.ingestion.aio import LogsIngestionClient
from azure.monitor.query import LogsQueryStatus
from azure.monitor.query.aio import LogsQueryClient

from keydrift_local.local_azure import LocalAzure
from keydrift_local.tenant_file import parse_tenant

SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
TENANT = "00000000-0000-0000-0000-0000000000aa"
KV1 = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg1/providers/Microsoft.KeyVault/vaults/kv1"


def vault(name: str) -> dict[str, object]:
    return {
        "id": f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg1/providers/Microsoft.KeyVault/vaults/{name}",
        "location": "westeurope",
        "properties": {"sku": {"family": "A", "name": "premium"}, "enableSoftDelete": True, "accessPolicies": []},
    }


@pytest.fixture(scope="module")
def running() -> Iterator[LocalAzure]:
    with LocalAzure(parse_tenant({"tenantId": TENANT}, "test"), page_size=3) as azure:
        yield azure


@pytest.fixture
def azure(running: LocalAzure, monkeypatch: pytest.MonkeyPatch) -> LocalAzure:
    resources = [vault(f"kv{number}") for number in range(1, 9)]
    resources.append({"id": f"{KV1}/keys/k1", "properties": {"attributes": {"enabled": False, "exp": 1_800_000_000}}})
    running.load(
        parse_tenant({"tenantId": TENANT, "resources": resources}, "test"), clock=lambda: datetime(2026, 1, 1, tzinfo=UTC)
    )
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    return running


@asynccontextmanager
async def transport() -> AsyncIterator[AioHttpTransport]:
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context())
    async with aiohttp.ClientSession(connector=connector, trust_env=True) as session:
        yield AioHttpTransport(session=session, session_owner=False)


@asynccontextmanager
async def key_vault() -> AsyncIterator[KeyVaultManagementClient]:
    async with transport() as shared, ManagedIdentityCredential() as identity:
        yield KeyVaultManagementClient(identity, SUBSCRIPTION, transport=shared)


async def test_vaults_are_read_and_paged(azure: LocalAzure) -> None:
    """The management client reads a vault and follows every page of the list."""
    async with key_vault() as client:
        found = await client.vaults.get("RG1", "KV1")
        listed = [each.name async for each in client.vaults.list_by_subscription()]
    assert found.properties.vault_uri == "https://kv1.vault.azure.net/"
    assert found.properties.tenant_id == TENANT
    assert listed == [f"kv{number}" for number in range(1, 9)]
    assert [each.status for each in azure.requests if each.path.endswith("/vaults")] == [200, 200, 200]


async def test_a_key_is_read_through_arm(azure: LocalAzure) -> None:
    """A key shows its state, its address, and whichever version is asked for where the tenant file tells none."""
    async with key_vault() as client:
        key = await client.keys.get("rg1", "kv1", "k1")
        versions = [each.name async for each in client.keys.list_versions("rg1", "kv1", "k1")]
        same = await client.keys.get_version("rg1", "kv1", "k1", "0123")
    assert key.attributes is not None
    assert (key.attributes.enabled, key.attributes.expires) == (False, 1_800_000_000)
    assert key.key_uri == "https://kv1.vault.azure.net/keys/k1"
    assert (key.key_uri_with_version, len(versions), same.name) == (None, 1, "0123")


async def test_a_missing_vault_is_not_found(azure: LocalAzure) -> None:
    """What is not there is ARM's 404 with its code."""
    async with key_vault() as client:
        with pytest.raises(ResourceNotFoundError) as caught:
            await client.vaults.get("rg1", "kv10")
        with pytest.raises(ResourceNotFoundError) as no_group:
            await client.vaults.get("rg10", "kv1")
    assert caught.value.error is not None
    assert no_group.value.error is not None
    assert (caught.value.error.code, no_group.value.error.code) == ("ResourceNotFound", "ResourceGroupNotFound")


async def test_a_soft_deleted_vault_is_listed_as_deleted(azure: LocalAzure) -> None:
    """Deleting a vault moves it to the deleted ones, with the date of its purge."""
    azure.change({"delete": KV1})
    async with key_vault() as client:
        listed = [each.name async for each in client.vaults.list_deleted()]
        deleted = await client.vaults.get_deleted("kv1", "westeurope")
    assert listed == ["kv1"]
    assert deleted.properties is not None
    assert deleted.properties.scheduled_purge_date == datetime(2026, 4, 1, tzinfo=UTC)


async def test_faults_are_counted_and_retried(azure: LocalAzure) -> None:
    """A 429 twice is retried by the client, and a dropped connection and a 403 are what they are in Azure."""
    azure.fault({"match": "GET */vaults/kv1*", "status": 429, "times": 2, "headers": {"Retry-After": "0"}})
    async with key_vault() as client:
        assert (await client.vaults.get("rg1", "kv1")).name == "kv1"
        assert [each.status for each in azure.requests if each.path == KV1] == [429, 429, 200]
        azure.fault({"match": "GET https://management.azure.com*/vaults/kv1", "status": 403})
        with pytest.raises(HttpResponseError) as caught:
            await client.vaults.get("rg1", "kv1")
        azure.fault(None)
        azure.fault({"match": "* *vaults/kv2", "status": 0})
        with pytest.raises(ServiceRequestError):
            await client.vaults.get("rg1", "kv2", retry_total=0)
    assert caught.value.error is not None
    assert caught.value.error.code == "AuthorizationFailed"


async def test_a_token_for_another_audience_is_refused(azure: LocalAzure) -> None:
    """A token for Graph does not open ARM."""
    async with transport() as shared, ManagedIdentityCredential() as identity:
        client = KeyVaultManagementClient(
            identity, SUBSCRIPTION, transport=shared, credential_scopes=["https://graph.microsoft.com/.default"]
        )
        with pytest.raises(ClientAuthenticationError) as caught:
            await client.vaults.get("rg1", "kv1")
    assert caught.value.error is not None
    assert caught.value.error.code == "InvalidAuthenticationTokenAudience"


async def test_a_client_secret_signs_in_through_entra(azure: LocalAzure) -> None:
    """Instance discovery and the client-credential grant work at Entra's own host name."""
    async with transport() as shared, ClientSecretCredential(TENANT, "app", "secret", transport=shared) as credential:
        client = KeyVaultManagementClient(credential, SUBSCRIPTION, transport=shared)
        assert (await client.vaults.get("rg1", "kv1")).name == "kv1"


async def test_rows_go_in_and_come_out_in_kql(azure: LocalAzure) -> None:
    """What the ingestion client uploads, the query client reads back in KQL."""
    rows: list[Any] = [
        {"TimeGenerated": "2026-01-01T00:00:00Z", "Verdict": "lost", "Sequence": 1, "Missing": ["keys/get"], "EffectiveBy": None},
        {"TimeGenerated": "2026-01-01T00:05:00Z", "Verdict": "held", "Sequence": 2, "EffectiveBy": "2026-01-01T00:10:00Z"},
    ]
    seen: list[tuple[str, int]] = []
    azure.logs.on_rows = lambda table, arrived: seen.append((table, len(arrived)))
    endpoint = azure.environment["KEYDRIFT_DCR_ENDPOINT"]
    rule = azure.environment["KEYDRIFT_DCR_RULE_ID"]
    query = "KeyDriftAlerts_CL | where EffectiveBy > TimeGenerated or isnotempty(Missing) | order by Sequence asc"
    async with transport() as shared, ManagedIdentityCredential() as identity:
        ingestion = LogsIngestionClient(endpoint, identity, transport=shared)
        await ingestion.upload(rule, "Custom-KeyDriftAlerts_CL", rows)
        client = LogsQueryClient(identity, transport=shared)
        result = await client.query_workspace("workspace", query, timespan=None)
        with pytest.raises(HttpResponseError) as wrong:
            await client.query_workspace("workspace", "NoSuchTable_CL | take 1", timespan=None)
    azure.logs.on_rows = None
    assert result.status == LogsQueryStatus.SUCCESS
    table = result.tables[0]
    assert [row["Verdict"] for row in table.rows] == ["lost", "held"]
    assert dict(zip(table.columns, table.columns_types, strict=True))["EffectiveBy"] == "datetime"
    assert seen == [("KeyDriftAlerts_CL", 2)]
    assert azure.logs.rows("KeyDriftAlerts_CL") == rows
    assert wrong.value.status_code == 400
