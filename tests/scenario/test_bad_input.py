"""Whatever arrives: events and messages that nobody can read, and a state store that fails, never lose a recheck."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from keydrift.adapters import sqlite_entities
from keydrift.model import PermissionModel, Scenario
from keydrift.ports import Delete, Entity, StateError, Write
from keydrift_local.rehearsal import worker
from support import tenants
from support.events import key_vault_event, resource_event
from support.rehearsals import SWEEP, Played, advance, rehearsal

VAULT = tenants.vault_id()
DELETE = "Microsoft.Authorization/roleAssignments/delete"
ASSIGNMENT = f"{VAULT}/providers/Microsoft.Authorization/roleAssignments/{tenants.guid(3)}"
GOOD = resource_event(DELETE, ASSIGNMENT, "DeleteSuccess")
LOSE = {"change": {"delete": ASSIGNMENT}, "silent": True}

UNREADABLE: dict[str, object] = {
    "text": "not json",
    "half a document": '{"id": "1", "eventType": "Microsoft.Key',
    "an empty object": {},
    "a type that is no text": {"id": "e1", "eventType": 5, "topic": VAULT},
    "an unknown schema": {"id": "e1", "specversion": "0.3", "type": "Microsoft.KeyVault.KeyExpired", "source": VAULT},
    "no schema at all": {"id": "e1", "kind": "alert", "essentials": {"alertId": "x"}},
    "data as a list": {**GOOD, "data": []},
    "data as a number": {**GOOD, "data": 12},
    "an operation that is a list": {**GOOD, "data": {"operationName": ["x"], "resourceUri": VAULT}},
    "no resource": {**GOOD, "subject": "nothing", "data": {"operationName": DELETE}},
    "an id that is none": {**GOOD, "subject": "x", "data": {"operationName": DELETE, "resourceUri": "kv1"}},
    "a vault's event without a vault": key_vault_event("VaultAccessPolicyChanged", topic="kv1"),
    "an id of control characters": {"id": "\x00/\\#?\ud800", "eventType": None, "topic": VAULT},
    "an id of a megabyte": {"id": "x" * 1_000_000, "eventType": None},
    "a megabyte of noise": "\u00e9{[" * 350_000,
    "deep nesting": "[" * 100_000,
    "a nested object": json.loads('{"a":' * 400 + "1" + "}" * 400),
}
NOT_OURS: dict[str, object] = {
    "an unknown type": {**GOOD, "eventType": "Contoso.Something.Happened"},
    "an operation that failed": {**GOOD, "eventType": "Microsoft.Resources.ResourceWriteFailure"},
    "an operation of no interest": resource_event("Microsoft.Web/sites/write", tenants.arm_id("Microsoft.Web/sites", "x")),
    "a validation event": {**GOOD, "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent"},
    "an empty batch": [],
}


def _tenant() -> dict[str, Any]:
    return tenants.healthy(Scenario.BACKUP_VAULT_CMK, PermissionModel.RBAC)


async def _dead_letters(played: Played) -> list[dict[str, Any]]:
    async with played.state() as state:
        return [dict(each) for each in await state.dead_letters()]


@pytest.mark.parametrize("event", UNREADABLE.values(), ids=list(UNREADABLE))
async def test_an_unreadable_event_is_kept_and_harms_nothing(
    event: object, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An event that cannot be read is logged with its id and dead-lettered, never delivered again, and costs no other event."""
    with caplog.at_level(logging.WARNING, logger="keydrift"):
        async with rehearsal(tmp_path, _tenant(), SWEEP, LOSE) as played:
            await played.play({"event": [event, GOOD, event]})
            await played.play(advance("PT2H"))
            rows, letters = played.alerts, await _dead_letters(played)
    messages = [record.getMessage() for record in caplog.records]
    assert [(row["Kind"], row["EventId"]) for row in rows] == [("opened", GOOD["id"])]
    assert len(letters) in (1, 2)  # the same event at the same time may be kept once
    assert all(letter["error"] for letter in letters)
    assert messages.count("an event could not be decoded") == 2
    assert "an event was not taken and is delivered again" not in messages
    if isinstance(event, dict) and isinstance(event.get("id"), str) and len(event["id"]) < 40 and event["id"].isprintable():
        assert event["id"] in {getattr(record, "event_id", None) for record in caplog.records}


@pytest.mark.parametrize("event", NOT_OURS.values(), ids=list(NOT_OURS))
async def test_an_event_of_another_kind_is_acknowledged(event: object, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A readable event that concerns neither keys nor backups is acknowledged, not kept, and costs nothing."""
    with caplog.at_level(logging.WARNING):
        async with rehearsal(tmp_path, _tenant(), SWEEP) as played:
            played.forget()
            await played.play({"event": event}, advance("PT10M"))
            assert played.asked() == []
            assert await _dead_letters(played) == []
    assert [record.getMessage() for record in caplog.records if record.name.startswith("keydrift")] == []


async def test_a_loss_behind_an_unreadable_event_is_found(tmp_path: Path) -> None:
    """An event that cannot be read makes keydrift look at what it might concern."""
    async with rehearsal(tmp_path, _tenant(), SWEEP, LOSE) as played:
        await played.play({"event": {"id": "e1", "eventType": None, "topic": VAULT}})
        (row,) = played.alerts
    assert (row["DetectedVia"], row["ActorConfidence"]) == ("sweep", "none")


@pytest.mark.parametrize("hinted", [False, True])
async def test_noise_costs_one_sweep_an_interval(hinted: bool, tmp_path: Path) -> None:
    """However many events cannot be read and whatever they name, they cost one look at a key store in 15 minutes."""
    noise = [{"id": f"e{n}", "eventType": None, **({"topic": f"{VAULT}/keys/k{n}"} if hinted else {})} for n in range(40)]
    async with rehearsal(tmp_path, _tenant(), SWEEP, KEYDRIFT_SWEEP_SCHEDULE="0 0 0 1 1 *") as played:
        played.forget()
        await played.play({"event": noise}, advance("PT1M"), {"event": noise}, advance("PT5M"))
        first = played.asked().count(f"GET {VAULT}")
        await played.play(advance("PT10M"), {"event": noise})
        second = played.asked().count(f"GET {VAULT}")
    assert (first, second) == (1, 2)


async def test_noise_does_not_swell_the_dead_letters(tmp_path: Path) -> None:
    """Of an event that cannot be read only the beginning is kept."""
    async with rehearsal(tmp_path, _tenant(), SWEEP, {"event": "\u00e9" * 1_000_000}) as played:
        (letter,) = await _dead_letters(played)
    assert 1000 < len(letter["payload"]) <= 20_000


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("garbage", id="text"),
        pytest.param("", id="nothing"),
        pytest.param("null", id="null"),
        pytest.param("[]", id="list"),
        pytest.param('{"host": "kv1.vault.azure.net"}', id="half"),
        pytest.param(json.dumps({"host": 5, "noticedAt": "2026-01-01T00:00:00Z", "via": "event", "consumers": False}), id="host"),
        pytest.param(json.dumps({"host": "x", "noticedAt": "2026-01-01", "via": "event", "consumers": False}), id="no offset"),
        pytest.param(json.dumps({"host": "x", "noticedAt": 12, "via": "event", "consumers": False}), id="time as a number"),
        pytest.param(json.dumps({"host": "x", "noticedAt": "2026-01-01T00:00:00Z", "via": "magic", "consumers": 0}), id="via"),
        pytest.param("[" * 100_000, id="deep"),
    ],
)
@pytest.mark.parametrize("function", ["recheck", "recheck_poison"])
async def test_a_garbled_message_is_kept_and_not_tried_again(function: str, body: str, tmp_path: Path) -> None:
    """A message that is not one of ours succeeds, so that the queue forgets it, and stands among the dead letters."""
    async with rehearsal(tmp_path, _tenant(), SWEEP) as played:
        now = datetime(2026, 1, 1, tzinfo=UTC)
        outcome = await (await worker()).message(function, body, id="m1", dequeue_count=1, inserted_at=now)
        letters = await _dead_letters(played)
    assert outcome.succeeded
    assert [letter["payload"] for letter in letters] == [body[:20_000]]


async def test_a_recheck_of_an_unknown_key_store_is_forgotten(tmp_path: Path) -> None:
    """A recheck of a key store that nothing watches (any more) succeeds and costs nothing."""
    message = {
        "v": 1,
        "host": "gone.vault.azure.net",
        "noticedAt": "2026-01-01T00:00:00+00:00",
        "via": "event",
        "consumers": False,
    }
    async with rehearsal(tmp_path, _tenant(), SWEEP) as played:
        played.forget()
        now = datetime(2026, 1, 1, tzinfo=UTC)
        outcome = await (await worker()).message("recheck", json.dumps(message), id="m1", dequeue_count=1, inserted_at=now)
        assert outcome.succeeded
        assert played.asked() == []


class FailingEntities(sqlite_entities.SqliteEntities):
    """An entity store that refuses to write to one partition while it is `broken`, as a storage account in trouble does."""

    broken: str | None = None
    refused = 0

    async def transact(self, operations: Sequence[Write | Delete]) -> Sequence[Entity]:
        partitions = {op.entity.partition if isinstance(op, Write) else op.partition for op in operations}
        if any(FailingEntities.broken and each.startswith(FailingEntities.broken) for each in partitions):
            FailingEntities.refused += 1
            raise StateError("the state store is down", transient=True)
        return await super().transact(operations)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> type[FailingEntities]:
    monkeypatch.setattr(sqlite_entities, "SqliteEntities", FailingEntities)
    monkeypatch.setattr(FailingEntities, "broken", None)
    monkeypatch.setattr(FailingEntities, "refused", 0)
    return FailingEntities


async def test_a_recheck_that_keeps_failing_becomes_unknown(failing: type[FailingEntities], tmp_path: Path) -> None:
    """After five deliveries a failing recheck is poison: its bindings are unknown, and the next sweep resolves that."""
    async with rehearsal(tmp_path, _tenant(), SWEEP) as played:
        failing.broken = "stores"
        await played.play({"event": resource_event("Microsoft.KeyVault/vaults/write", VAULT)}, advance("PT90S"))
        refused = failing.refused
        opened = played.alerts
        failing.broken = None
        await played.play(advance("PT15M"))
        rows = played.alerts
    assert refused == 5
    assert [(row["Kind"], row["Verdict"], row["FindingCodes"]) for row in opened] == [("opened", "unknown", ["recheck-failed"])]
    assert [row["Kind"] for row in rows] == ["opened", "resolved"]


async def test_an_event_is_delivered_again_while_the_state_store_fails(failing: type[FailingEntities], tmp_path: Path) -> None:
    """An event whose notice cannot be stored is not acknowledged: Event Grid delivers it again, and then it is taken."""
    async with rehearsal(tmp_path, _tenant(), SWEEP, LOSE) as played:
        failing.broken = "notices/"
        await played.play({"event": GOOD}, advance("PT9S"))
        assert played.alerts == []
        failing.broken = None
        await played.play(advance("PT2S"))
        (row,) = played.alerts
    assert (row["DetectedVia"], row["EventId"], row["ActorConfidence"]) == ("event", GOOD["id"], "certain")


async def test_an_alert_that_cannot_be_recorded_is_not_sent(failing: type[FailingEntities], tmp_path: Path) -> None:
    """Record, then deliver: while a verdict cannot be recorded no alert goes out; afterwards it goes out once."""
    async with rehearsal(tmp_path, _tenant(), SWEEP, LOSE) as played:
        failing.broken = "binding/"
        await played.play({"event": GOOD}, advance("PT15S"))
        assert played.alerts == []
        failing.broken = None
        await played.play(advance("PT1H"))
        rows = played.alerts
    assert [row["Kind"] for row in rows] == ["opened"]


async def test_a_delivery_that_cannot_be_marked_is_repeated_with_the_same_id(
    failing: type[FailingEntities], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the delivery mark cannot be written the alert is sent again, under the same AlertId, and not a third time."""

    class AfterSending(FailingEntities):
        async def transact(self, operations: Sequence[Write | Delete]) -> Sequence[Entity]:
            if failing.broken == "marking" and any(isinstance(op, Delete) for op in operations):
                raise StateError("the state store is down", transient=True)
            return await super().transact(operations)

    monkeypatch.setattr(sqlite_entities, "SqliteEntities", AfterSending)
    async with rehearsal(tmp_path, _tenant(), SWEEP, LOSE) as played:
        failing.broken = "marking"
        await played.play({"event": GOOD})
        failing.broken = None
        await played.play(advance("PT1H"))
        rows = played.alerts
    assert [row["Kind"] for row in rows] == ["opened", "opened"]
    assert len({row["AlertId"] for row in rows}) == 1
