"""The monitor knows when it is blind: each condition is told by a health row and by the shipped rule, and so is its end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from keydrift.model import PermissionModel, Scenario
from keydrift.monitor import Monitor
from keydrift.settings import DEFAULT_PULSE_SCHEDULE
from keydrift.tables import HEALTH
from keydrift_local.azure.event_topic import TOPIC_ENDPOINT
from support import tenants
from support.kusto import texts
from support.rehearsals import SWEEP, Played, advance, rehearsal
from support.tenants import Document
from support.workspaces import Workspace

type Row = dict[str, Any]

RULES = texts("rules")
ALERTS_REFUSED = {"match": "POST *KeyDriftAlerts_CL*", "status": 503}
SCOPE = f"/subscriptions/{tenants.SUBSCRIPTION}"


@asynccontextmanager
async def beating(folder: Path, *steps: Document, tenant: Document | None = None, **settings: str) -> AsyncIterator[Played]:
    """A healthy tenant whose monitor tells how it is every five minutes."""
    served = tenant or tenants.healthy(Scenario.BACKUP_VAULT_CMK, PermissionModel.RBAC)
    settings = {"KEYDRIFT_PULSE_SCHEDULE": DEFAULT_PULSE_SCHEDULE, **settings}
    async with rehearsal(folder, served, SWEEP, *steps, **settings) as played:
        yield played


def health(played: Played) -> list[Row]:
    """The health rows that arrived, in order."""
    return list(played.azure.logs.rows(HEALTH))


def newest(played: Played) -> dict[tuple[str, str], Row]:
    """The newest row of each check and source."""
    return {(row["Check"], row["Source"]): row for row in health(played)}


def statuses(played: Played) -> dict[str, str]:
    """The newest status of each check; the worst of its sources."""
    found: dict[str, str] = {}
    order = ("ok", "warning", "unknown", "failed")
    for (check, _), row in newest(played).items():
        found[check] = max(found.get(check, "ok"), row["Status"], key=order.index)
    return found


def told(played: Played, rule: str = "monitor-blind") -> list[Row]:
    """What the shipped rule says of the rows that arrived, looking two hours back as it does."""
    made = Workspace(played.rehearsal.now)
    made.hold(HEALTH, played.azure.logs.rows(HEALTH))
    return made.ask(RULES[rule])


def checks_told(played: Played) -> set[str]:
    return {str(row["Check"]) for row in told(played)}


def assignment(tenant: Document) -> Document:
    """The grant that the vault's identity depends on."""
    found: Document = tenant["roleAssignments"][-1]
    return found


async def test_a_healthy_monitor(tmp_path: Path) -> None:
    """Every beat tells every check, all is ok, and neither rule has anything to say."""
    async with beating(tmp_path, advance("PT15M")) as played:
        rows = health(played)
        beats = [row["TimeGenerated"][11:19] for row in rows if row["Check"] == "heartbeat"]
        assert set(statuses(played)) == {
            "heartbeat", "sweep", "watchlist", "deliveries", "rejected-rows", "dead-letters", "event-subscription",
        }  # fmt: skip
        assert {row["Status"] for row in rows} == {"ok"}
        assert beats == ["00:00:15", "00:05:15", "00:10:15"]
        heart = newest(played)["heartbeat", ""]
        assert (heart["Value"], heart["Unit"]) == (1, "key bindings")
        assert (heart["Counters"]["KeyStores"], heart["Counters"]["VerdictHeld"]) == (1, 1)
        # Reads of ARM for it come once an hour
        assert sum(row["Check"] == "event-subscription" for row in rows) == 1
        assert (told(played), told(played, "monitor-silent")) == ([], [])


async def test_the_sweep_is_overdue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps that fail are told after three, and the next that ends is told too."""

    async def fail(_: Monitor) -> None:
        raise RuntimeError("a defect")

    async with beating(tmp_path, advance("PT10M")) as played:
        with monkeypatch.context() as broken:
            broken.setattr(Monitor, "sweep", fail)
            await played.play(advance("PT30M"))
            assert statuses(played)["sweep"] == "ok"
            await played.play(advance("PT20M"))
        assert (statuses(played)["sweep"], checks_told(played)) == ("failed", {"sweep"})
        await played.play(advance("PT20M"))
        assert (statuses(played)["sweep"], told(played)) == ("ok", [])


async def test_the_watchlist_is_empty(tmp_path: Path) -> None:
    """A tenant in which nothing needs a key any more is told; once something does, that is told too."""
    tenant = tenants.healthy(Scenario.BACKUP_VAULT_CMK, PermissionModel.RBAC)
    (vault,) = [each for each in tenant["resources"] if "/backupVaults/" in each["id"]]
    async with beating(tmp_path, advance("PT10M"), tenant=tenant) as played:
        await played.play({"change": {"delete": vault["id"]}, "silent": True}, advance("PT20M"))
        assert (statuses(played)["watchlist"], checks_told(played)) == ("failed", {"watchlist"})
        await played.play({"change": {"put": vault}, "silent": True}, advance("PT20M"))
        assert (statuses(played)["watchlist"], told(played)) == ("ok", [])


async def test_alerts_wait(tmp_path: Path) -> None:
    """Alerts that Log Analytics does not take are told after half an hour, and so is their delivery."""
    tenant = tenants.healthy(Scenario.BACKUP_VAULT_CMK, PermissionModel.RBAC)
    async with beating(tmp_path, {"fault": ALERTS_REFUSED}, tenant=tenant) as played:
        await played.play({"change": {"delete": assignment(tenant)["id"]}}, advance("PT20M"))
        assert statuses(played)["deliveries"] == "ok"
        await played.play(advance("PT20M"))
        assert (statuses(played)["deliveries"], checks_told(played)) == ("failed", {"deliveries"})
        assert newest(played)["heartbeat", ""]["Counters"]["Undelivered"] == 1
        await played.play({"fault": None}, advance("PT15M"))
        assert (statuses(played)["deliveries"], told(played), len(played.alerts)) == ("ok", [], 1)


async def test_a_row_is_refused_for_good(tmp_path: Path) -> None:
    """A row that Log Analytics rejects is kept aside and told, blocks no other, and is sent again a day later."""
    tenant = tenants.healthy(Scenario.BACKUP_VAULT_CMK, PermissionModel.RBAC)
    refused = {"match": "POST *KeyDriftAlerts_CL*", "status": 400, "times": 1, "body": {"error": {"code": "InvalidRecord"}}}
    async with beating(tmp_path, advance("PT3M"), {"fault": refused}, tenant=tenant) as played:
        grant = assignment(tenant)
        await played.play({"change": {"delete": grant["id"]}}, advance("PT1M"), {"change": {"put": grant}}, advance("PT10M"))
        assert [row["Kind"] for row in played.alerts] == ["resolved"]
        assert (statuses(played)["rejected-rows"], checks_told(played)) == ("failed", {"rejected-rows"})
        await played.play(advance("P1D"), advance("PT10M"))
        assert sorted(row["Kind"] for row in played.alerts) == ["opened", "resolved"]
        assert (statuses(played)["rejected-rows"], told(played)) == ("ok", [])


async def test_events_cannot_be_read(tmp_path: Path) -> None:
    """Events that cannot be decoded are a warning for a day, and no alarm."""
    async with beating(tmp_path, {"event": {"nonsense": 1}}, advance("PT6M")) as played:
        assert (statuses(played)["dead-letters"], told(played)) == ("warning", [])
        await played.play(advance("P1D"))
        assert statuses(played)["dead-letters"] == "ok"


async def test_events_do_not_arrive(tmp_path: Path) -> None:
    """An event subscription that is gone is told within an hour and at every beat; once it is back, that is told too."""
    topic = tenants.arm_id("Microsoft.EventGrid/systemTopics", "t1")
    subscription = f"{topic}/eventSubscriptions/keydrift"
    tenant = tenants.healthy(Scenario.BACKUP_VAULT_CMK, PermissionModel.RBAC)
    there = {
        "id": subscription,
        "properties": {"provisioningState": "Succeeded", "destination": {"endpointType": "StorageQueue"}},
    }
    tenant["resources"] += [
        {"id": topic, "location": "global", "properties": {"source": SCOPE, "provisioningState": "Succeeded"}},
        there,
    ]
    async with beating(tmp_path, advance("PT10M"), tenant=tenant) as played:
        assert statuses(played)["event-subscription"] == "ok"
        await played.play({"change": {"delete": subscription}}, advance("PT70M"))
        (row,) = told(played)
        assert (row["Check"], row["ResourceId"], row["Severity"]) == ("event-subscription", SCOPE, "High")
        assert row["Remediation"] != ""
        failed = [each for each in health(played) if each["Status"] == "failed"]
        assert len(failed) > 1
        await played.play({"change": {"put": there}}, advance("PT70M"))
        assert (statuses(played)["event-subscription"], told(played)) == ("ok", [])
        topic_failed = {"merge": {"id": topic, "properties": {"provisioningState": "Failed"}}}
        await played.play({"change": topic_failed}, advance("PT70M"))
        assert checks_told(played) == {"event-subscription"}


async def test_a_source_cannot_be_read(tmp_path: Path) -> None:
    """A source that verdicts need is told with what would open it, and its end is told under the same name."""
    async with beating(tmp_path, advance("PT10M")) as played:
        await played.play({"fault": {"match": "GET *roleAssignments*", "status": 403}}, advance("PT40M"))
        unread = [row for row in told(played) if row["Check"] == "unread-source"]
        assert unread
        assert all(row["Source"] and row["Remediation"] and row["Severity"] == "Medium" for row in unread)
        assert newest(played)["heartbeat", ""]["Counters"]["VerdictUnknown"] == 1
        await played.play({"fault": None}, advance("PT40M"))
        assert (statuses(played)["unread-source"], told(played)) == ("ok", [])


async def test_its_end_is_told_until_it_is_heard(tmp_path: Path) -> None:
    """Where the row that something is over is not accepted, it is sent again."""
    async with beating(tmp_path, {"fault": {"match": "GET *roleAssignments*", "status": 403}}, advance("PT40M")) as played:
        assert "unread-source" in checks_told(played)
        await played.play({"fault": None}, {"fault": {"match": "POST *KeyDriftHealth_CL*", "status": 503}}, advance("PT40M"))
        await played.play({"fault": None}, advance("PT10M"))
        assert (statuses(played)["unread-source"], told(played)) == ("ok", [])


async def test_silence(tmp_path: Path) -> None:
    """Where health rows do not arrive the rule on silence speaks; the first heartbeat that does counts those that did not."""
    async with beating(tmp_path, advance("PT10M")) as played:
        await played.play({"fault": {"match": "POST *KeyDriftHealth_CL*", "status": 403}}, advance("PT70M"))
        assert [row["Check"] for row in told(played, "monitor-silent")] == ["heartbeat"]
        await played.play({"fault": None}, advance("PT5M"))
        assert told(played, "monitor-silent") == []
        assert newest(played)["heartbeat", ""]["Counters"]["HealthRowsNotAccepted"] >= 6


async def test_a_canary_returns(tmp_path: Path) -> None:
    """An event through topic, function and queue is told with the time it took; one that does not arrive is told as lost."""
    async with beating(tmp_path, advance("PT1M"), KEYDRIFT_CANARY_TOPIC_ENDPOINT=TOPIC_ENDPOINT) as played:
        (event,) = played.azure.topic.events
        assert event["type"] == "Keydrift.Canary"
        await played.play({"event": {**event, "id": "somebody-else"}}, advance("PT5S"), {"event": event}, advance("PT5M"))
        row = newest(played)["canary", ""]
        assert (row["Status"], row["Unit"]) == ("ok", "seconds")
        assert 45 < row["Value"] < 55
        # The second is out by now, and is lost
        await played.play(advance("PT5M"))
        assert statuses(played)["canary"] == "ok"
        await played.play(advance("PT10M"))
        assert (statuses(played)["canary"], checks_told(played)) == ("failed", {"canary"})
        await played.play({"event": played.azure.topic.events[-1]}, advance("PT5M"))
        assert (statuses(played)["canary"], told(played)) == ("ok", [])


async def test_a_canary_is_not_let_out(tmp_path: Path) -> None:
    """A topic that refuses the canary is told with what to repair."""
    refused = {"match": "POST *eventgrid.azure.net*", "status": 403}
    async with beating(tmp_path, {"fault": refused}, advance("PT1M"), KEYDRIFT_CANARY_TOPIC_ENDPOINT=TOPIC_ENDPOINT) as played:
        row = newest(played)["canary", ""]
        assert (row["Status"], "EventGrid Data Sender" in row["Remediation"]) == ("failed", True)
