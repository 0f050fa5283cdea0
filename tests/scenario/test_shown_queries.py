"""The workbook's queries and those in the documents, executed on the rows of rehearsals."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

import pytest

from keydrift.health import HealthCheck, HealthStatus
from support import workbook
from support.kusto import documented, inline
from support.workspaces import Row, Workspace, checked, hold_health, play, workspace

STORY = "story.backup-vault-cmk.rbac"
LOST_AT = datetime(2026, 1, 1, 0, 2, tzinfo=UTC)
DOCUMENTED = documented()
INLINE = inline()


async def _shown(
    until: datetime | None = LOST_AT, names: tuple[str, ...] = (), values: Mapping[str, str] = MappingProxyType({})
) -> dict[str, list[Row]]:
    """What every query of the workbook shows, or those of some steps."""
    made = workspace(await play(STORY), until)
    hold_health(
        made,
        checked(HealthCheck.HEARTBEAT, HealthStatus.OK, made.now),
        checked(HealthCheck.SWEEP, HealthStatus.FAILED, made.now),
    )
    (state,) = made.ask("KeyDriftCurrentState()")
    put_in = {**workbook.OPENED, "Binding": str(state["BindingId"]), **values}
    return {name: made.ask(query) for name, query in workbook.queries(put_in).items() if not names or name in names}


async def test_the_workbook_shows_a_loss() -> None:
    """While a key is lost the workbook counts it, names it, and shows its alert, its repair and the failed check."""
    shown = await _shown()
    assert [(row["Verdict"], row["KeyBindings"]) for row in shown["verdicts"]] == [("lost", 1)]
    assert [(row["Verdict"], row["Key"]) for row in shown["posture"]] == [("lost", "https://kv1.vault.azure.net/keys/k1")]
    assert [(row["Actor"], row["Severity"]) for row in shown["open"]] == [("iam-admin@contoso.com", "High")]
    assert [row["Remediation"].partition(" --")[0] for row in shown["key-now"]] == ["az role assignment create"]
    assert [row["Kind"] for row in shown["key-history"]] == ["opened"]
    assert [(row["Kind"], row["Alerts"]) for row in shown["timeline"]] == [("opened", 1)]
    assert [(row["KeyStoreName"], row["Lost"], row["Held"]) for row in shown["stores"]] == [("kv1", 1, 0)]
    assert [(row["Check"], row["Status"]) for row in shown["health"]] == [("sweep", "failed"), ("heartbeat", "ok")]
    assert [row["BlindTo"] for row in shown["blind"]] == ["sweep"]
    assert (shown["usable"], shown["restore"], shown["not-proven"]) == ([], [], [])


async def test_the_workbook_shows_the_repair() -> None:
    """After the repair the workbook shows the mean time to restore, the history and the proof of the grant."""
    shown = await _shown(until=None)
    assert [(row["MinutesToRestore"], row["Losses"]) for row in shown["restore"]] == [(5.0, 1)]
    assert [(row["DetectedVia"], row["Opened"], row["MeanSeconds"]) for row in shown["detect"]] == [("event", 1, 0.0)]
    assert [row["Kind"] for row in shown["key-history"]] == ["resolved", "opened"]
    assert [(row["Effect"], row["Kind"], row["Role"]) for row in shown["key-proof"]] == [
        ("grants", "role-assignment", "Key Vault Crypto Service Encryption User")
    ]
    assert "keys/wrap/action" in shown["key-proof"][0]["Permissions"]
    assert [row["AtLeast"] for row in shown["usable"]] == [False]
    assert shown["open"] == []


@pytest.mark.parametrize(("subscription", "rows"), [("00000000-0000-0000-0000-000000000001", 1), ("another", 0)])
async def test_the_workbook_filters_by_subscription(subscription: str, rows: int) -> None:
    """A chosen subscription narrows every view but those of one key binding and of the monitor."""
    narrowed = ("verdicts", "posture", "timeline", "open", "stores", "detect")
    values = {"Subscription": f"'{subscription}'", "Subscription:label": subscription}
    shown = await _shown(names=(*narrowed, "parameter Subscription"), values=values)
    assert {name: len(shown[name]) for name in narrowed} == dict.fromkeys(narrowed, rows)
    assert shown["parameter Subscription"] == [{"SubscriptionId": "00000000-0000-0000-0000-000000000001"}]


async def test_the_workbook_shows_what_is_not_proven() -> None:
    """A day after the last proof a lost key is listed as not proven."""
    made = workspace(await play(STORY), LOST_AT)
    made.now = LOST_AT + timedelta(hours=30)
    (row,) = made.ask(workbook.queries()["not-proven"])
    assert (row["Verdict"], row["HoursSinceProof"]) == ("lost", 30.0)


# What the queries of docs/sentinel.md answer on a story in which a key is lost at 00:01 and given back at 00:06: how many rows
# while it is lost, and how many after
_ANSWERS = {
    f"docs/sentinel.md#{number}": rows for number, rows in enumerate([(0, 0), (0, 0), (1, 1), (1, 0), (0, 1), (0, 0), (0, 1)], 1)
}


@pytest.mark.parametrize("name", DOCUMENTED)
async def test_a_documented_query_answers(name: str) -> None:
    """A query in a document runs as it stands, and answers as the rehearsed story goes."""
    played = await play(STORY)
    rows = tuple(len(workspace(played, until).ask(DOCUMENTED[name])) for until in (LOST_AT, None))
    assert rows == _ANSWERS.get(name, rows)


def test_every_answer_is_of_a_query() -> None:
    """All queries of docs/sentinel.md have their answers written down here."""
    assert [name for name in DOCUMENTED if name.startswith("docs/sentinel.md#")] == list(_ANSWERS)


def test_the_queries_in_bicep_watch_the_monitor() -> None:
    """The alerts that the deployment makes count heartbeats, zero where there is none, and failed checks."""
    heartbeats, failures = INLINE.values()
    silent, alive = Workspace(LOST_AT), Workspace(LOST_AT)
    hold_health(
        alive, checked(HealthCheck.HEARTBEAT, HealthStatus.OK, LOST_AT), checked(HealthCheck.SWEEP, HealthStatus.FAILED, LOST_AT)
    )
    assert silent.ask(heartbeats) == [{"Heartbeats": 0}]
    assert [row["Heartbeats"] > 0 for row in alive.ask(heartbeats)] == [True]
    assert silent.ask(failures) == []
    assert [row["Check"] for row in alive.ask(failures)] == ["sweep"]


async def test_the_noise_of_key_backups_is_told_by_app_id() -> None:
    """The documented exclusion leaves out key backups by Azure Backup's app, and nothing else."""
    made = workspace(await play(STORY))
    backup: Row = {
        "TimeGenerated": "2026-01-01T00:05:00Z", "ResourceProvider": "MICROSOFT.KEYVAULT", "ResourceType": "VAULTS",
        "ResultType": "Success", "OperationName": "KeyBackup", "identity_claim_appid_g": "262044B1-e2ce-469f-a196-69ab7ada62d3",
    }  # fmt: skip
    others: list[Row] = [{"identity_claim_appid_g": "someone"}, {"OperationName": "KeyDelete"}, {"identity_claim_appid_g": None}]
    stays = [backup | each for each in others]
    made.hold("AzureDiagnostics", [backup, *stays])
    left = made.ask(DOCUMENTED["docs/sentinel.md#2"])
    assert [(row["OperationName"], row["identity_claim_appid_g"]) for row in left] == [
        (row["OperationName"], row["identity_claim_appid_g"]) for row in stays
    ]
    assert [row["Backups"] for row in made.ask(DOCUMENTED["docs/sentinel.md#1"])] == [1, 1, 1]
