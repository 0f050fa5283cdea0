"""A key binding's past: bounded, written with the record, and what it says of how long a verdict has stood."""

from __future__ import annotations

from dataclasses import replace

import pytest

from keydrift.alerts.history import HISTORY_KEPT, PastAlert, Remembered, past_alert, standing_since, with_alerts
from keydrift.alerts.record import BindingRecord
from keydrift.model import Scenario
from keydrift.ports import StateConflictError
from keydrift.state import State as Memory
from support.builders import NOW, binding
from support.entities import MemoryEntities

ROW: dict[str, object] = {
    "AlertId": "a", "Sequence": 1, "DetectedAt": "2026-03-01T12:00:00.000Z", "Kind": "opened", "Verdict": "lost",
    "PreviousVerdict": "held",
    "FindingCodes": ["key-disabled"], "ActorName": None, "ActorObjectId": "o", "ActorAppId": "p", "ActorConfidence": "certain",
    "ActorIp": "192.0.2.1", "DetectedVia": "event", "OutageSeconds": None, "Reason": None, "Remediation": "az",
}  # fmt: skip


def _past(verdict: str, at: str) -> dict[str, object]:
    return {"verdict": verdict, "at": at}


def test_an_alert_is_kept_in_short() -> None:
    """Time, kind, verdicts, codes and the best name of the actor are kept; no address and no text of the alert."""
    assert past_alert(ROW) == {
        "alert_id": "a", "at": "2026-03-01T12:00:00.000Z", "kind": "opened", "verdict": "lost", "previous": "held",
        "codes": ["key-disabled"], "actor": "o", "actor_confidence": "certain", "via": "event",
        "outage_seconds": None, "reason": None,
    }  # fmt: skip


def test_the_oldest_is_forgotten() -> None:
    """The last twenty alerts are kept, oldest first."""
    history: tuple[PastAlert, ...] = ()
    for number in range(HISTORY_KEPT + 5):
        history = with_alerts(history, [{**ROW, "AlertId": number}])
    assert [each["alert_id"] for each in history] == list(range(5, HISTORY_KEPT + 5))


@pytest.mark.parametrize(
    ("verdict", "history", "since"),
    [
        ("held", [], "2026-03-01T12:00:00.000Z"),
        ("lost", [], None),
        ("unknown", [], None),
        ("lost", [_past("lost", "1")], "1"),
        ("lost", [_past("lost", "1"), _past("lost", "2")], "1"),
        ("lost", [_past("lost", "1"), _past("held", "2"), _past("lost", "3"), _past("lost", "4")], "3"),
        ("held", [_past("lost", "1"), _past("held", "2")], "2"),
        ("unknown", [_past("lost", "1"), _past("held", "2")], None),
    ],
)
def test_since_when_a_verdict_stands(verdict: str, history: list[dict[str, object]], since: str | None) -> None:
    """A verdict stands since the first of the last alerts that say it, a held one without any since it was first seen."""
    assert standing_since(verdict, history, int(NOW.timestamp())) == since


async def test_the_history_is_one_write_with_the_record() -> None:
    """An alert joins the history in the write of the record: one that loses its race changes neither."""
    state = Memory(MemoryEntities())
    record = BindingRecord.created(binding(Scenario.CVM_CMK).id, NOW)
    await state.record(Remembered(record=record, posture={"verdict": "lost"}), [ROW])
    kept = await state.remembered(record.binding_id)
    assert kept is not None
    assert [each["alert_id"] for each in kept.history] == ["a"]
    with pytest.raises(StateConflictError):
        await state.record(replace(kept, etag="stale"), [{**ROW, "AlertId": "b"}])
    await state.record(replace(kept, posture={"verdict": "held"}), [])
    again = await state.remembered(record.binding_id)
    assert again is not None
    assert ([each["alert_id"] for each in again.history], again.posture) == (["a"], {"verdict": "held"})


async def test_a_record_of_before_has_no_history() -> None:
    """What was stored before there was a history is read as one without alerts, and many are read in the order asked for."""
    entities = MemoryEntities()
    state = Memory(entities)
    ids = [f"00000000-0000-0000-0000-{n:012}" for n in range(70)]
    for each in ids[::2]:
        await state.record(Remembered(record=BindingRecord.created(each, NOW)), [])
    found = await state.all_remembered(ids)
    assert [each and each.record.binding_id for each in found] == [each if n % 2 == 0 else None for n, each in enumerate(ids)]
    assert all(each is None or each.history == () for each in found)
