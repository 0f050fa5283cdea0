"""What an event costs: requests to Azure, counted by what stands in for it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from keydrift.model import PermissionModel, Scenario
from support import tenants
from support.events import key_vault_event, resource_event
from support.rehearsals import SWEEP, advance, rehearsal

BUDGET = 9
# A confidential virtual machine has a second identity, its disk encryption set's, and under Azure RBAC a second role
FURTHER = {PermissionModel.RBAC: 2, PermissionModel.ACCESS_POLICY: 1, PermissionModel.MANAGED_HSM: 1}
CONFIDENTIAL = (Scenario.CVM_CMK, Scenario.CVM_DES)
BACKUP_VAULT = tenants.arm_id("Microsoft.DataProtection/backupVaults", "bv1")
ASSIGNMENT_WRITE = "Microsoft.Authorization/roleAssignments/write"


def _assignment(number: int, scope: str) -> str:
    return f"{scope}/providers/Microsoft.Authorization/roleAssignments/{tenants.guid(number)}"


@pytest.mark.parametrize(
    ("operation", "resource"),
    [
        pytest.param("Microsoft.KeyVault/vaults/write", tenants.vault_id("kv10"), id="another vault"),
        pytest.param(ASSIGNMENT_WRITE, _assignment(1, tenants.vault_id("kv10")), id="a role on another vault"),
        pytest.param(ASSIGNMENT_WRITE, _assignment(1, tenants.vault_id(group="rg10")), id="a vault of that name elsewhere"),
        pytest.param(ASSIGNMENT_WRITE, _assignment(1, f"/subscriptions/{tenants.OTHER_SUBSCRIPTION}"), id="another subscription"),
        pytest.param(
            "Microsoft.Authorization/roleDefinitions/write",
            f"/subscriptions/{tenants.SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/{tenants.guid(5)}",
            id="a role definition that nobody has here",
        ),
        pytest.param("Microsoft.Compute/virtualMachines/write", tenants.machine_id("other"), id="an unprotected machine"),
        pytest.param(
            "Microsoft.Storage/storageAccounts/write", tenants.arm_id("Microsoft.Storage/storageAccounts", "x"), id="else"
        ),
    ],
)
async def test_an_event_about_nothing_watched_costs_nothing(operation: str, resource: str, tmp_path: Path) -> None:
    """An event that concerns no watched key store costs no request to Azure at all."""
    tenant = tenants.healthy(Scenario.BACKUP_VAULT_CMK, PermissionModel.RBAC)
    async with rehearsal(tmp_path, tenant, SWEEP) as played:
        played.forget()
        await played.play({"event": resource_event(operation, resource)}, advance("PT14M"))
        assert played.asked() == []


@pytest.mark.parametrize(("scenario", "model"), tenants.HEALTHY)
async def test_an_event_about_one_key_store_is_cheap(scenario: Scenario, model: PermissionModel, tmp_path: Path) -> None:
    """An event costs at most nine requests, one more for each further identity or role, and asks for nothing twice."""
    store = tenants.hsm_id() if model is PermissionModel.MANAGED_HSM else tenants.vault_id()
    kind = "managedHSMs" if model is PermissionModel.MANAGED_HSM else "vaults"
    async with rehearsal(tmp_path, tenants.healthy(scenario, model), SWEEP, advance("PT10M")) as played:
        played.forget()
        await played.play({"event": resource_event(f"Microsoft.KeyVault/{kind}/write", store)}, advance("PT1M"))
        asked = [
            (each.method, each.path, tuple(sorted(each.query.items()))) for each in played.azure.requests if _costs(each.host)
        ]
    assert 0 < len(asked) <= BUDGET + (FURTHER[model] if scenario in CONFIDENTIAL else 0)
    assert max(Counter(asked).values()) == 1


async def test_each_further_key_costs_one_request(tmp_path: Path) -> None:
    """A second key in the same key store adds one request to what an event costs."""
    tenant = tenants.healthy(Scenario.BACKUP_VAULT_CMK, PermissionModel.RBAC)
    more = {**tenant, "resources": [*tenant["resources"], tenants.key("k2")]}
    more["resources"].append(tenants.backup_vault("bv2", "https://kv1.vault.azure.net/keys/k2"))
    event = {"event": resource_event("Microsoft.KeyVault/vaults/write", tenants.vault_id())}
    costs = []
    for each in (tenant, more):
        async with rehearsal(tmp_path, each, SWEEP) as played:
            played.forget()
            await played.play(event)
            costs.append(len(played.asked()))
    assert costs[1] == costs[0] + 1


async def test_a_burst_of_a_thousand_events_is_at_most_two_evaluations(tmp_path: Path) -> None:
    """A thousand role-assignment events on one vault cost at most two evaluations, and the loss among them is found."""
    tenant = tenants.healthy(Scenario.BACKUP_VAULT_CMK, PermissionModel.RBAC)
    vault = tenants.vault_id()
    burst = [{**resource_event(ASSIGNMENT_WRITE, _assignment(n, vault)), "id": tenants.guid(n)} for n in range(1000, 2000)]
    async with rehearsal(tmp_path, tenant, SWEEP) as played:
        played.forget()
        await played.play({"change": {"delete": _assignment(3, vault)}, "silent": True}, {"event": burst})
        reads = [each for each in played.asked() if each == f"GET {vault}"]
        rows = played.alerts
    assert 1 <= len(reads) <= 2
    assert [row["Kind"] for row in rows] == ["opened"]


async def test_an_event_that_is_answered_already_costs_nothing(tmp_path: Path) -> None:
    """Facts read after an event was received answer it, also while its message still waits."""
    tenant = tenants.healthy(Scenario.BACKUP_VAULT_CMK, PermissionModel.ACCESS_POLICY)
    named = resource_event("Microsoft.KeyVault/vaults/write", tenants.vault_id())
    nameless = key_vault_event("VaultAccessPolicyChanged", topic=tenants.vault_id())
    async with rehearsal(tmp_path, tenant, SWEEP) as played:
        await played.play({"event": nameless})
        played.forget()
        await played.play(advance("PT5S"), {"event": named})
        once = len(played.asked())
        await played.play(advance("PT1M"))
        assert len(played.asked()) == once
        assert 0 < once <= BUDGET


async def test_a_change_of_a_consumer_reads_the_inventory_once(tmp_path: Path) -> None:
    """A burst of events about consumers takes the inventory once, not once an event."""
    tenant = tenants.healthy(Scenario.BACKUP_VAULT_CMK, PermissionModel.RBAC)
    event = resource_event("Microsoft.DataProtection/backupVaults/write", BACKUP_VAULT)
    async with rehearsal(tmp_path, tenant, SWEEP) as played:
        played.forget()
        await played.play({"event": [{**event, "id": tenants.guid(n)} for n in range(50)]})
        lists = [each for each in played.asked() if each.endswith("/providers/Microsoft.DataProtection/backupVaults")]
    assert 1 <= len(lists) <= 2


async def test_a_sweep_of_nothing_new_writes_no_binding(tmp_path: Path) -> None:
    """State is written only when it changed: sweeping a healthy tenant again leaves every record as it is."""
    tenant = tenants.healthy(Scenario.BACKUP_VAULT_CMK, PermissionModel.RBAC)
    async with rehearsal(tmp_path, tenant, SWEEP) as played, played.state() as state:
        (binding,) = (await state.watchlist()).bindings.values()
        before = await state.remembered(binding.id)
        await played.play(SWEEP, advance("PT1H"))
        after = await state.remembered(binding.id)
    assert before is not None
    assert after is not None
    assert before.etag == after.etag


def _costs(host: str) -> bool:
    return host not in ("127.0.0.1", "localhost") and "ingest" not in host
