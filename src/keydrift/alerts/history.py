"""The past of a key binding: its last alerts in short, as state keeps them beside the record and the page shows them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile

from keydrift.alerts.record import BindingRecord
from keydrift.alerts.row import stamp
from keydrift.model import State

type PastAlert = Mapping[str, object]

HISTORY_KEPT = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """A binding's record with what guards it; `posture` is its last verdict as a document, `history` its last alerts in short."""

    record: BindingRecord
    posture: Mapping[str, object] | None = None
    history: tuple[PastAlert, ...] = ()
    etag: str | None = None


def past_alert(row: Mapping[str, object]) -> dict[str, object]:
    """What is kept of an alert's row: times as RFC 3339, `actor` the best name there is for who did it."""
    return {
        "alert_id": row.get("AlertId"),
        "at": row.get("DetectedAt"),
        "kind": row.get("Kind"),
        "verdict": row.get("Verdict"),
        "previous": row.get("PreviousVerdict"),
        "codes": row.get("FindingCodes") or [],
        "actor": row.get("ActorName") or row.get("ActorObjectId") or row.get("ActorAppId"),
        "actor_confidence": row.get("ActorConfidence"),
        "via": row.get("DetectedVia"),
        "outage_seconds": row.get("OutageSeconds"),
        "reason": row.get("Reason"),
    }


def with_alerts(history: Sequence[PastAlert], rows: Sequence[Mapping[str, object]]) -> tuple[PastAlert, ...]:
    """The history after these alerts too, oldest first; the oldest is forgotten beyond `HISTORY_KEPT`."""
    return (*history, *map(past_alert, rows))[-HISTORY_KEPT:]


def standing_since(verdict: str, history: Sequence[PastAlert], sequence: int) -> str | None:
    """Since when the verdict stands, as far as alerts tell: the first of the last alerts that all say it.

    Without any alert a held binding is so since it was first seen: then `sequence` is that time, in epoch seconds
    (`record.BindingRecord`). None where the verdict was not alerted: an unknown that awaits its second read.
    """
    if not history:
        return stamp(datetime.fromtimestamp(sequence, UTC)) if verdict == State.HELD else None
    standing = list(takewhile(lambda each: each.get("verdict") == verdict, reversed(history)))
    return str(standing[-1]["at"]) if standing else None
