"""A consumer that nobody watches yet is watched soon after its event, not at the next sweep."""

from __future__ import annotations

from pathlib import Path

from keydrift.model import PermissionModel, Scenario
from support import tenants
from support.rehearsals import SWEEP, advance, rehearsal

SECOND_KEY = "https://kv1.vault.azure.net/keys/k2"
STRANGER = "00000000-0000-0000-0000-000000000999"


async def test_a_new_vault_is_watched_within_a_minute(tmp_path: Path) -> None:
    """A vault that starts to encrypt with a key it may not use is alerted from its own event."""
    tenant = tenants.healthy(Scenario.BACKUP_VAULT_CMK, PermissionModel.RBAC)
    tenant["resources"].append(tenants.key("k2"))
    added = tenants.recovery_vault("rsv9", SECOND_KEY, tenants.system_identity(STRANGER))
    async with rehearsal(tmp_path, tenant, SWEEP, {"change": {"put": added}}, advance("PT1M")) as played:
        (row,) = played.alerts
    assert (row["Kind"], row["Scenario"], row["FindingCodes"]) == ("opened", "rsv-cmk", ["role-assignment-absent"])
    assert row["DetectedVia"] == "event"


async def test_a_machine_that_comes_under_protection_is_watched_within_a_minute(tmp_path: Path) -> None:
    """The key of a confidential machine is watched as soon as backup protects it, and not before."""
    tenant = tenants.healthy(Scenario.CVM_CMK, PermissionModel.RBAC)
    (item,) = [each for each in tenant["resources"] if "/protecteditems/" in each["id"].lower()]
    tenant["resources"].remove(item)
    tenant["roleAssignments"] = []
    async with rehearsal(tmp_path, tenant, SWEEP, advance("PT1M")) as played:
        assert played.alerts == []
        await played.play({"change": {"put": item}}, advance("PT1M"))
        assert sorted(str(row["Scenario"]) for row in played.alerts) == ["cvm-cmk", "cvm-des"]


async def test_a_burst_of_new_consumers_is_one_inventory(tmp_path: Path) -> None:
    """Twenty protected items of nobody's watchlist cost one inventory, not twenty."""
    tenant = tenants.healthy(Scenario.BACKUP_VAULT_CMK, PermissionModel.RBAC)
    vaults = [tenants.recovery_vault(f"rsv{n}", None, None) for n in range(20)]
    async with rehearsal(tmp_path, tenant, SWEEP) as played:
        played.forget()
        await played.play(*({"change": {"put": each}} for each in vaults), advance("PT1M"))
        listed = [each.path for each in played.azure.requests if each.path.lower().endswith("/microsoft.compute/disks")]
    assert len(listed) == 1
