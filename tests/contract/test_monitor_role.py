"""The monitor's custom role holds the operations that the product's requests need, and no other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from contract.test_doctor import whole
from keydrift.bootstrap import examined
from keydrift.doctor.examine import examine
from keydrift.doctor.probe import probe
from keydrift.model import PermissionModel, Scenario
from keydrift.scan import scan
from keydrift.settings import Settings
from keydrift_local.local_azure import LocalAzure, Request
from keydrift_local.rehearsal import rehearsing, worker
from keydrift_local.scenario_file import load_scenario
from support.arm_operations import graph_operations, operation_of
from support.azure import reading, serve
from support.queues_memory import ManualClock
from support.tenants import Document, healthy, tenant

ROOT = Path(__file__).resolve().parents[2]
ROLE: dict[str, Any] = json.loads((ROOT / "infra" / "monitor-role.json").read_text(encoding="utf-8"))
CASES = ROOT / "tests" / "scenario" / "cases"
# Between them: every consumer, every kind of key store, and what is read only when something is gone
PLAYED = (
    "ade-kek.secret-in-another-vault",
    "hsm.unsupported-for-recovery-services",
    "identity.deleted",
    "key-store.deleted-and-recovered",
    "key.pinned-version-deleted",
    "role-definition.narrowed",
    "secret.deleted",
    "story.backup-vault-cmk.managed-hsm",
    "story.cvm-cmk.managed-hsm",
    "story.cvm-des.rbac",
    "story.rsv-cmk.access-policy",
)
SUB = "/subscriptions/00000000-0000-0000-0000-000000000001"
VAULT = f"{SUB}/resourceGroups/rg1/providers/Microsoft.KeyVault/vaults/kv1"
GROUP = "/providers/Microsoft.Management/managementGroups/mg1"
AUTHORIZATION = "providers/Microsoft.Authorization"
RECOVERY = f"{SUB}/resourceGroups/rg1/providers/Microsoft.RecoveryServices/vaults/rsv1"


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("GET", "/subscriptions", "Microsoft.Resources/subscriptions/read"),
        ("GET", f"{SUB}/?api-version=2022-12-01", "Microsoft.Resources/subscriptions/read"),
        ("GET", f"{SUB}/resourceGroups", "Microsoft.Resources/subscriptions/resourceGroups/read"),
        ("GET", f"{SUB}/resourceGroups/vaults", "Microsoft.Resources/subscriptions/resourceGroups/read"),
        ("GET", VAULT, "Microsoft.KeyVault/vaults/read"),
        ("HEAD", f"{VAULT}/", "Microsoft.KeyVault/vaults/read"),
        ("GET", f"{SUB}/providers/Microsoft.KeyVault/vaults", "Microsoft.KeyVault/vaults/read"),
        # A vault that is called like a type is a name all the same
        ("GET", f"{SUB}/providers/Microsoft.KeyVault/vaults/keys", "Microsoft.KeyVault/vaults/read"),
        ("GET", f"{VAULT}/keys", "Microsoft.KeyVault/vaults/keys/read"),
        ("GET", f"{VAULT}/keys/versions", "Microsoft.KeyVault/vaults/keys/read"),
        ("GET", f"{VAULT}/keys/k1/versions", "Microsoft.KeyVault/vaults/keys/versions/read"),
        ("GET", f"{VAULT}/keys/k1/versions/v1", "Microsoft.KeyVault/vaults/keys/versions/read"),
        ("PUT", f"{VAULT}/keys/k1", "Microsoft.KeyVault/vaults/keys/write"),
        ("PATCH", VAULT, "Microsoft.KeyVault/vaults/write"),
        ("DELETE", f"{VAULT}/keys/k1", "Microsoft.KeyVault/vaults/keys/delete"),
        ("GET", f"{SUB}/providers/Microsoft.KeyVault/deletedVaults", "Microsoft.KeyVault/deletedVaults/read"),
        (
            "GET",
            f"{SUB}/providers/Microsoft.KeyVault/locations/westeurope/deletedVaults/kv1",
            "Microsoft.KeyVault/locations/deletedVaults/read",
        ),
        # The last provider counts: an assignment on a vault, on one of its keys, on a management group
        ("GET", f"{VAULT}/{AUTHORIZATION}/roleAssignments", "Microsoft.Authorization/roleAssignments/read"),
        ("GET", f"{VAULT}/keys/k1/{AUTHORIZATION}/roleAssignments/1", "Microsoft.Authorization/roleAssignments/read"),
        ("GET", f"{GROUP}/{AUTHORIZATION}/denyAssignments", "Microsoft.Authorization/denyAssignments/read"),
        ("GET", f"{GROUP}/descendants", "Microsoft.Management/managementGroups/descendants/read"),
        ("GET", f"{RECOVERY}/backupProtectedItems", "Microsoft.RecoveryServices/vaults/backupProtectedItems/read"),
        (
            "GET",
            f"{RECOVERY}/backupFabrics/f/protectionContainers/c/protectedItems/i",
            "Microsoft.RecoveryServices/vaults/backupFabrics/protectionContainers/protectedItems/read",
        ),
        ("POST", "/providers/Microsoft.ResourceGraph/resources", "Microsoft.ResourceGraph/resources/read"),
        ("POST", f"{VAULT}/keys/k1/rotate", "Microsoft.KeyVault/vaults/keys/rotate/action"),
        ("POST", "/providers/Microsoft.ResourceGraph/resourcesHistory", "Microsoft.ResourceGraph/resourcesHistory/action"),
    ],
)
def test_operations_are_named_as_azure_names_them(method: str, path: str, operation: str) -> None:
    """A request's operation is its provider, its types and its verb, whatever the resources are called."""
    assert operation_of(method, path) == operation


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/tenants"),
        ("POST", SUB),
        ("OPTIONS", VAULT),
        ("GET", f"{SUB}/providers"),
        ("GET", f"{SUB}/providers/vaults"),
    ],
)
def test_what_is_no_operation_is_refused(method: str, path: str) -> None:
    """A path or method that names no operation is an error, never a guess."""
    with pytest.raises(ValueError, match="`"):
        operation_of(method, path)


@pytest.mark.parametrize(
    ("query", "operations"),
    [
        ("resources | where type =~ 'microsoft.compute/disks' | project id", {"microsoft.compute/disks/read"}),
        ("resources | where type == 'a.b/c' or type =~ 'a.b/d/e'", {"a.b/c/read", "a.b/d/e/read"}),
        ("resources | where type in~ ('a.b/c', 'a.b/d') and name != 'x/y'", {"a.b/c/read", "a.b/d/read"}),
        ("resources | where name =~ 'a.b/c' and subtype =~ 'a.b/d'", set()),
    ],
)
def test_a_query_reads_the_types_that_it_names(query: str, operations: set[str]) -> None:
    """Resource Graph shows what the caller may read: a query needs the read of every type that it names, and no other."""
    assert graph_operations(query) == operations


def test_the_role_reads_and_nothing_more() -> None:
    """Every action is one read, named in full: no wildcard, no write, no data action."""
    actions = ROLE["actions"]
    assert [each for each in actions if not each.endswith("/read") or "*" in each] == []
    assert len({each.lower() for each in actions}) == len(actions)
    assert actions == sorted(actions, key=str.lower)
    assert ROLE["notActions"] == ROLE["dataActions"] == ROLE["notDataActions"] == []


async def _rehearsed() -> list[Request]:
    """What sweeps and events ask for, by ARM and by Resource Graph."""
    found: list[Request] = []
    for name in PLAYED:
        async with rehearsing(load_scenario(CASES / f"{name}.json"), await worker()) as playing:
            for step in load_scenario(CASES / f"{name}.json").steps:
                await playing.play(step)
            found += playing.azure.requests
    return found


async def _scanned(azure: LocalAzure, document: Document) -> list[Request]:
    """What the inventories and the bulk reads of a scan ask for, the subscriptions below a management group included."""
    serve(azure, document)
    async with reading(ManualClock()) as reads:
        below = await reads.consumers.subscriptions_below("mg1")
        assert isinstance(below, tuple)
        subscriptions = await reads.consumers.subscriptions()
        assert isinstance(subscriptions, tuple)
        for consumers in (reads.consumers, reads.hearsay):
            await scan(
                consumers=consumers, bulk=reads.bulk, clock=ManualClock(), policy=reads.policy, subscriptions=subscriptions
            )
        await reads.consumers.tenant_of(subscriptions[0])
    return list(azure.requests)


async def _diagnosed(azure: LocalAzure, folder: Path) -> list[Request]:
    """What the doctor and its probes ask for."""
    serve(azure, whole())
    environment = {**azure.environment, "KEYDRIFT_STATE": f"sqlite:{folder}/state.db"}
    async with examined(Settings.from_environment(environment), environment, ManualClock()) as found:
        await examine(found)
        await probe(found)
    return list(azure.requests)


async def test_the_role_is_what_the_product_asks_for(azure: LocalAzure, tmp_path: Path) -> None:
    """The role's actions are exactly the operations of every request that scans, sweeps, events, doctor and probes make."""
    everything = tenant(
        *healthy(Scenario.CVM_CMK, PermissionModel.ACCESS_POLICY)["resources"],
        managementGroups=[{"id": GROUP, "parent": None, "subscriptions": [SUB.rpartition("/")[2]]}],
    )
    made = [*await _scanned(azure, everything), *await _diagnosed(azure, tmp_path), *await _rehearsed()]
    to_arm = [each for each in made if each.host == "management.azure.com"]
    asked = {operation_of(each.method, each.path).lower() for each in to_arm}
    queries = [json.loads(each.body)["query"] for each in to_arm if each.method == "POST"]
    asked |= {operation.lower() for query in queries for operation in graph_operations(query)}
    allowed = {each.lower() for each in ROLE["actions"]}
    assert sorted(asked - allowed) == [], "asked for, and not in the role"
    assert sorted(allowed - asked) == [], "in the role, and never asked for"
