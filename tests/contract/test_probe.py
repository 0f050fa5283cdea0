"""`keydrift doctor --probe` against the simulated tenant: each probe falls both ways, and says so where nothing can tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from keydrift.bootstrap import examined
from keydrift.doctor.facts import Check, Status
from keydrift.doctor.probe import probe
from keydrift.settings import Settings
from keydrift_local.local_azure import LocalAzure
from support.azure import asked, serve
from support.queues_memory import ManualClock
from support.tenants import (
    BACKUP_APP_ID,
    BACKUP_OBJECT_ID,
    CRYPTO_SERVICE_ENCRYPTION_USER,
    SUBSCRIPTION,
    Document,
    access_policy,
    guid,
    hsm_id,
    key,
    key_vault,
    managed_hsm,
    role_assignment,
    tenant,
    vault_id,
)

ARM = "GET https://management.azure.com"
AUTHORIZATION = "providers/Microsoft.Authorization"
AUDITOR = "2c18b078-7c48-4d3a-af88-5a3a1b3f82b3"
GROUP = "/providers/Microsoft.Management/managementGroups/mg1"
KEY = f"{vault_id()}/keys/k1"


def whole(**changed: Any) -> Document:
    """A tenant on which every probe can tell: a grant on a key, one above, a closed vault with policies, a Managed HSM."""
    closed = key_vault("kv2", rbac=False, policies=[access_policy(BACKUP_OBJECT_ID), access_policy(guid(9))])
    closed["properties"] |= {"publicNetworkAccess": "Disabled"}
    sections: Document = {
        "managementGroups": [{"id": GROUP, "parent": None, "subscriptions": [SUBSCRIPTION]}],
        "roleAssignments": [
            role_assignment(1, KEY, CRYPTO_SERVICE_ENCRYPTION_USER, guid(9)),
            role_assignment(2, GROUP, CRYPTO_SERVICE_ENCRYPTION_USER, guid(9)),
        ],
    }
    resources = changed.pop("resources", (key_vault(rbac=True), key(), closed, key("k2", vault="kv2"), managed_hsm()))
    return tenant(*resources, **{**sections, "managedHsms": {hsm_id(): {}}, **changed})


async def probed(azure: LocalAzure, folder: Path, **settings: str) -> dict[int, Check]:
    environment = {**azure.environment, "KEYDRIFT_STATE": f"sqlite:{folder}/state.db", **settings}
    async with examined(Settings.from_environment(environment), environment, ManualClock()) as found:
        checks = await probe(found)
    return {int(each.name.split()[1].rstrip(":")): each for each in checks}


async def test_every_assumption_holds_on_the_simulated_tenant(azure: LocalAzure, tmp_path: Path) -> None:
    """Where Azure is as documents have it every probe says so, and nothing but reads was asked."""
    serve(azure, whole())
    found = await probed(azure, tmp_path)
    assert sorted(found) == list(range(1, 10))
    # Microsoft's own table says that Crypto Auditor purges (azure-facts 0.3), and the simulated tenant has its roles from there
    assert {number: each.status for number, each in found.items() if each.status is not Status.OK} == {7: Status.WARN}
    told = {number: each.found.partition(":")[0] for number, each in found.items()}
    assert told == {
        1: "holds",
        2: "holds",
        3: "holds",
        4: "it does",
        5: "holds",
        6: "it does",
        7: "false",
        8: "holds",
        9: "holds",
    }
    assert {(each.method, each.path) for each in asked(azure) if each.method != "GET"} <= {
        ("POST", "/providers/Microsoft.ResourceGraph/resources")
    }


EMPTY: Document = {"status": 200, "body": {"value": []}}
ONLY_READS = {
    "id": f"Microsoft.KeyVault/providers/Microsoft.Authorization/roleDefinitions/{AUDITOR}",
    "name": AUDITOR,
    "type": "Microsoft.Authorization/roleDefinitions",
    "properties": {
        "roleName": "Managed HSM Crypto Auditor",
        "permissions": [{"dataActions": ["Microsoft.KeyVault/managedHsm/keys/read/action"]}],
    },
}
OTHERWISE: dict[int, tuple[Document, Status, str]] = {
    1: ({"match": f"{ARM}{vault_id()}/{AUTHORIZATION}/roleAssignments", **EMPTY}, Status.FAIL, "false"),
    3: ({"match": f"{ARM}*/roleAssignmentScheduleInstances", "status": 400}, Status.FAIL, "false: HTTP 400"),
    4: ({"match": f"{ARM}*/keys/*/{AUTHORIZATION}/roleAssignments", "status": 404}, Status.OK, "it does not"),
    5: ({"match": f"{ARM}{vault_id('kv2')}/keys", "status": 403}, Status.FAIL, "HTTP 403"),
    6: (
        {
            "match": "POST */providers/Microsoft.ResourceGraph/resources",
            "status": 200,
            "body": {"totalRecords": 0, "count": 0, "data": [], "facets": [], "resultTruncated": "false"},
        },
        Status.OK,
        "it does not, or lags",
    ),
    7: (
        {"match": "GET https://hsm1.managedhsm.azure.net/*/roleDefinitions", "status": 200, "body": {"value": [ONLY_READS]}},
        Status.OK,
        "holds: Microsoft.KeyVault/managedHsm/keys/read/action",
    ),
    8: (
        {
            "match": f"{ARM}*/managedHSMs",
            "status": 200,
            "body": {"value": [{"id": hsm_id(), "properties": {"hsmUri": "https://hsm1.managedhsm.example/"}}]},
        },
        Status.FAIL,
        "false: hsm1.managedhsm.example",
    ),
    9: (
        {
            "match": "GET https://graph.microsoft.com/*servicePrincipals*",
            "status": 404,
            "body": {"error": {"code": "Request_ResourceNotFound", "message": "none"}},
        },
        Status.FAIL,
        "false, or Azure Backup was never used here",
    ),
}


@pytest.mark.parametrize("number", sorted(OTHERWISE))
async def test_the_other_way_is_told(azure: LocalAzure, tmp_path: Path, number: int) -> None:
    """Where Azure is otherwise the probe says so; what the product relies on fails, with what to do."""
    serve(azure, whole())
    fault, status, words = OTHERWISE[number]
    azure.fault(fault)
    found = (await probed(azure, tmp_path))[number]
    assert (found.status, found.found.startswith(words)) == (status, True), found
    assert bool(found.fix) == (status is not Status.OK)


@pytest.mark.parametrize("number", range(1, 9))
async def test_where_nothing_can_tell_it_says_why(azure: LocalAzure, tmp_path: Path, number: int) -> None:
    """On a tenant without the thing to probe with, each probe says what is missing, as a warning."""
    serve(azure, whole(resources=(), roleAssignments=[], managedHsms={}))
    found = (await probed(azure, tmp_path, KEYDRIFT_SUBSCRIPTIONS=SUBSCRIPTION))[number]
    assert found.status in {Status.WARN, Status.UNKNOWN}
    assert found.found.startswith("cannot be told")
    assert found.fix


@pytest.mark.parametrize(
    ("number", "match"),
    [
        (1, f"{ARM}{vault_id()}/{AUTHORIZATION}/roleAssignments"),
        (2, f"{ARM}/subscriptions/{SUBSCRIPTION}/{AUTHORIZATION}/roleAssignments"),
        (3, f"{ARM}*/roleAssignmentScheduleInstances"),
        (4, f"{ARM}*/keys/*/{AUTHORIZATION}/roleAssignments"),
        (5, f"{ARM}{vault_id('kv2')}/keys"),
        (6, "POST */providers/Microsoft.ResourceGraph/resources"),
        (7, "GET https://hsm1.managedhsm.azure.net/*"),
        (8, f"{ARM}*/managedHSMs"),
        (9, "GET https://graph.microsoft.com/*"),
    ],
)
async def test_a_read_that_fails_tells_nothing(azure: LocalAzure, tmp_path: Path, number: int, match: str) -> None:
    """Where the read of a probe fails it is unknown, never true or false."""
    serve(azure, whole(roleAssignments=[role_assignment(1, KEY, CRYPTO_SERVICE_ENCRYPTION_USER, guid(9))]))
    azure.fault({"match": match, "status": 503})
    found = (await probed(azure, tmp_path))[number]
    assert (found.status, found.found.partition(":")[0]) == (Status.UNKNOWN, "cannot be told")


async def test_a_group_is_no_principal_to_ask_for(azure: LocalAzure, tmp_path: Path) -> None:
    """`assignedTo` takes no group: an assignment on a key that is a group's tells nothing."""
    given = whole(roleAssignments=[role_assignment(1, KEY, CRYPTO_SERVICE_ENCRYPTION_USER, guid(30))])
    given["directory"]["groups"] = [{"id": guid(30), "displayName": "g", "members": []}]
    serve(azure, given)
    found = await probed(azure, tmp_path)
    assert (found[1].status, found[3].status) == (Status.WARN, Status.WARN)


async def test_an_object_id_by_hand_asks_graph_for_nothing(azure: LocalAzure, tmp_path: Path) -> None:
    """Whoever sets the object id by hand says that Graph is not to be asked, by a probe neither."""
    serve(azure, whole())
    found = await probed(azure, tmp_path, KEYDRIFT_BACKUP_OBJECT_ID=BACKUP_OBJECT_ID)
    assert found[9].status is Status.WARN
    assert BACKUP_APP_ID in found[9].name
    assert [each for each in asked(azure) if each.host == "graph.microsoft.com"] == []
