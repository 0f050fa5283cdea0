"""The inventory by Resource Graph: it adds to the watchlist, and never takes away."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from keydrift.model import PermissionModel, Scenario
from support import tenants
from support.rehearsals import SWEEP, advance, rehearsal

BY_GRAPH = {"KEYDRIFT_INVENTORY": "resource-graph"}
HOURLY = {"KEYDRIFT_SWEEP_SCHEDULE": "0 0 * * * *", "KEYDRIFT_DELIVER_SCHEDULE": "0 30 * * * *"}
QUERY = "/providers/microsoft.resourcegraph/resources"
SECOND_KEY = "https://kv1.vault.azure.net/keys/k2"


def _queries(paths: list[str]) -> int:
    return sum(path.lower() == QUERY for path in paths)


def _silently(change: Mapping[str, object]) -> dict[str, object]:
    return {"change": change, "silent": True}


async def test_a_consumer_that_only_resource_graph_has_shown_is_watched(tmp_path: Path) -> None:
    """After the first, complete inventory sweeps ask Resource Graph, and what it shows is watched and judged."""
    tenant = tenants.healthy(Scenario.BACKUP_VAULT_CMK, PermissionModel.RBAC)
    tenant["resources"].append(tenants.key("k2"))
    added = tenants.recovery_vault("rsv9", SECOND_KEY, tenants.system_identity("00000000-0000-0000-0000-000000000999"))
    async with rehearsal(tmp_path, tenant, SWEEP, **BY_GRAPH) as played:
        assert _queries([each.path for each in played.azure.requests]) == 0
        played.forget()
        await played.play(_silently({"put": added}), advance("PT16M"))
        assert _queries([each.path for each in played.azure.requests]) > 0
        (row,) = played.alerts
    assert (row["Kind"], row["Scenario"], row["FindingCodes"]) == ("opened", "rsv-cmk", ["role-assignment-absent"])


async def test_what_an_event_asked_for_and_arm_did_not_list_is_asked_for_again(tmp_path: Path) -> None:
    """A consumer is deleted while ARM fails, and Resource Graph proves nothing: the sweep after that asks ARM for its
    subscription, and the sweep after the next one does not."""
    tenant = tenants.healthy(Scenario.BACKUP_VAULT_CMK, PermissionModel.RBAC)
    (vault,) = [each["id"] for each in tenant["resources"] if "/backupvaults/" in each["id"].lower()]
    lost = [{"change": {"delete": each["id"]}} for each in tenant["roleAssignments"]]
    fault = {"fault": {"match": "GET *backupVaults*", "status": 503}}
    async with rehearsal(tmp_path, tenant, SWEEP, *lost, fault, **BY_GRAPH) as played:
        await played.play({"change": {"delete": vault}}, advance("PT10M"), {"fault": None})
        assert [row["Kind"] for row in played.alerts] == ["opened"]
        await played.play(advance("PT16M"))
        assert [(row["Kind"], row["Reason"]) for row in played.alerts] == [("opened", None), ("resolved", "retired")]
        played.forget()
        await played.play(advance("PT16M"))
        assert [each for each in played.asked() if "backupvaults" in each.lower()] == []


async def test_a_row_that_is_missing_takes_nothing_away(tmp_path: Path) -> None:
    """A lost binding whose consumer Resource Graph shows no more stays open until complete lists prove the consumer gone."""
    tenant = tenants.healthy(Scenario.BACKUP_VAULT_CMK, PermissionModel.RBAC)
    (vault,) = [each["id"] for each in tenant["resources"] if "/backupvaults/" in each["id"].lower()]
    lost = [{"change": {"delete": each["id"]}} for each in tenant["roleAssignments"]]
    async with rehearsal(tmp_path, tenant, SWEEP, *lost, advance("PT1M"), **BY_GRAPH, **HOURLY) as played:
        await played.play(_silently({"delete": vault}), advance("PT2H"))
        assert [row["Kind"] for row in played.alerts] == ["opened"]
        await played.play(advance("PT24H"))
        assert [(row["Kind"], row["Reason"]) for row in played.alerts] == [("opened", None), ("resolved", "retired")]
