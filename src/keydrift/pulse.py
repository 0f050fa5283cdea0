"""The monitor's own pulse: looks at itself every few minutes and tells it as health rows, so that silence is never health.

Rows that are not accepted are not kept: the next beat says the same anew. How many those were is counted in the next heartbeat.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from logging import getLogger
from typing import Protocol, cast
from uuid import uuid4

from keydrift import vital_signs
from keydrift.health import HealthCheck, HealthReading, HealthStatus, health_row
from keydrift.ports import Clock, DeliveryError, RowSink
from keydrift.state import State
from keydrift.vital_signs import Outgoing, Signs

log = getLogger(__name__)

_DAY = timedelta(days=1)
# It costs a few reads of ARM for each subscription
EVENTS_CHECKED_EVERY = timedelta(hours=1)
# Verdicts are counted at every beat while that costs few reads, and after each sweep where they are many
_FEW_BINDINGS = 500
# Sources that one verdict names are named by others too; beyond these only their number would grow
_MOST_UNREAD_FINDINGS = 1000
PULSE, CANARY, CANARY_BACK, EVENT = "pulse", "canary", "canary back", "event"


class EventChecks(Protocol):
    """Whether events reach the monitor (`doctor.event_health`)."""

    async def check(self) -> Sequence[HealthReading]:
        """One reading a watched subscription. Never raises."""
        ...


class CanaryTopic(Protocol):
    """Where canary events are published."""

    async def release(self, canary: str, at: datetime) -> None:
        """Publish an event with that id. Raises DeliveryError."""
        ...


class Pulse:
    """Takes the signs and sends the rows. `canaries` is None where no topic is set."""

    def __init__(
        self,
        *,
        state: State,
        sink: RowSink,
        clock: Clock,
        events: EventChecks,
        canaries: CanaryTopic | None,
        sweep_schedule: str,
        tenant_id: str | None,
    ) -> None:
        self._state, self._sink, self._clock, self._events, self._canaries = state, sink, clock, events, canaries
        self._sweep_schedule, self._tenant_id = sweep_schedule, tenant_id

    async def beat(self) -> None:
        """Look, and tell. Raises StateError: a monitor that cannot read its own state has no pulse."""
        now = self._clock.now()
        kept = await self._state.mark_body(PULSE) or {}
        signs, memory = await self._signs(kept, now)
        told = list(vital_signs.readings(signs))
        # First, and by itself: what is read of Azure below may take its time
        unaccepted = await self._send(told, now)
        events, checked_at = await self._event_subscriptions(kept, now)
        others = [*events, *await self._canary(now)]
        before = {(check, source) for check, source in cast("list[list[str]]", kept.get("open") or [])}
        closed = vital_signs.closing(before, [*told, *others])
        not_closed = await self._send([*others, *closed], now)
        still_open = vital_signs.still_open([*told, *others])
        if not_closed:
            # That it is over was perhaps not heard: it is said again
            still_open += [list(each) for each in sorted(before) if list(each) not in still_open]
        memory |= {
            "open": still_open,
            "unaccepted": unaccepted + not_closed,
            "events": [_document(each) for each in events if each.status is not HealthStatus.OK],
            "eventsAt": checked_at.isoformat(),
        }
        await self._state.set_mark(PULSE, now, memory)

    async def _send(self, readings: Sequence[HealthReading], now: datetime) -> int:
        """Send rows; how many were not accepted."""
        rows = [health_row(each, now, self._tenant_id) for each in readings]
        if not rows:
            return 0
        try:
            await self._sink.send(rows)
        except DeliveryError as error:
            log.warning("health rows were not accepted", extra={"rows": len(rows) - error.accepted, "reason": str(error)})
            return len(rows) - error.accepted
        return 0

    async def _signs(self, kept: Mapping[str, object], now: datetime) -> tuple[Signs, dict[str, object]]:
        watchlist = await self._state.watchlist()
        swept = await self._state.mark("sweep")
        watched = _of_the_day(cast("Mapping[str, int]", kept.get("watched") or {}), len(watchlist.bindings), now)
        verdicts, unread = await self._verdicts(watchlist.bindings, kept, swept)
        inventory = await self._state.mark_body("inventory") or {}
        since = str(kept.get("since") or now.isoformat())
        signs = Signs(
            now=now,
            since=datetime.fromisoformat(since),
            sweep_schedule=self._sweep_schedule,
            swept=swept,
            watched=len(watchlist.bindings),
            most_watched=max(watched.values()),
            key_stores=len(watchlist.hosts),
            verdicts=verdicts,
            outgoing=[await self._outgoing(number) for number in range(len(self._state.outboxes))],
            dead_letters=await self._state.dead_letters_since(now - _DAY),
            unread=[*cast("list[Mapping[str, object]]", inventory.get("unread") or []), *unread],
            event_at=await self._state.mark(EVENT),
            unaccepted=cast("int", kept.get("unaccepted") or 0),
        )
        counted = {"verdicts": verdicts, "unread": unread, "counted": swept.isoformat() if swept else None}
        return signs, {"since": since, "watched": watched, **counted}

    async def _outgoing(self, number: int) -> Outgoing:
        outbox = self._state.outboxes[number]
        pending, rejected = await outbox.pending(), await outbox.rejected()
        times = [datetime.fromisoformat(str(each.row["DetectedAt"])) for each in pending]
        return Outgoing(
            sink=str(outbox.name),
            waiting=len(pending),
            oldest=min(times, default=None),
            rejected=[each.reason for each in rejected],
        )

    async def _verdicts(
        self, binding_ids: Collection[str], kept: Mapping[str, object], swept: datetime | None
    ) -> tuple[dict[str, int], list[dict[str, object]]]:
        """Key bindings by verdict, and what verdicts could not read: one read a binding."""
        if len(binding_ids) > _FEW_BINDINGS and swept is not None and kept.get("counted") == swept.isoformat():
            return cast("dict[str, int]", kept["verdicts"]), cast("list[dict[str, object]]", kept["unread"])
        verdicts: Counter[str] = Counter()
        unread: dict[tuple[str, str], dict[str, object]] = {}
        for remembered in await self._state.all_remembered(binding_ids):
            posture = remembered.posture if remembered is not None else None
            if posture is None:
                continue
            verdicts[str(posture["verdict"])] += 1
            for found in cast("list[Mapping[str, object]]", posture.get("findings") or []):
                if found.get("code") == "facts-unreadable":
                    source = str(cast("Mapping[str, object]", found.get("evidence") or {}).get("source") or "")
                    repair = str(found.get("remediation") or "")
                    unread[source, repair] = {"source": source, "repair": repair}
        return dict(verdicts), list(unread.values())[:_MOST_UNREAD_FINDINGS]

    async def _event_subscriptions(self, kept: Mapping[str, object], now: datetime) -> tuple[Sequence[HealthReading], datetime]:
        """Checked once an hour; what was wrong is said again until then."""
        at = kept.get("eventsAt")
        if isinstance(at, str) and now - datetime.fromisoformat(at) < EVENTS_CHECKED_EVERY:
            known = [_reading(each) for each in cast("list[Mapping[str, str]]", kept.get("events") or [])]
            return known, datetime.fromisoformat(at)
        return await self._events.check(), now

    async def _canary(self, now: datetime) -> Sequence[HealthReading]:
        """What became of the last canary event; the next one is published when it is back, or lost."""
        if self._canaries is None:
            return ()
        out, back = await self._state.mark_body(CANARY), await self._state.mark_body(CANARY_BACK)
        returned = out is not None and back is not None and back["canary"] == out["canary"]
        sent = datetime.fromisoformat(str(out["at"])) if out is not None else None
        came = datetime.fromisoformat(str(back["at"])) if back is not None and returned else None
        reading = vital_signs.canary(sent, came, now)
        if sent is not None and reading is None:
            return ()
        canary = str(uuid4())
        # Kept before it flies: it may be back before its topic has answered
        await self._state.set_mark(CANARY, now, {"canary": canary})
        try:
            await self._canaries.release(canary, now)
        except DeliveryError as error:
            log.warning("a canary event was not accepted", extra={"reason": str(error)})
            problem = "the canary event was not accepted by its topic"
            failed = HealthReading(check=HealthCheck.CANARY, status=HealthStatus.FAILED, summary=problem, remediation=str(error))
            return (failed,)
        return (reading,) if reading is not None else ()


def _of_the_day(kept: Mapping[str, int], watched: int, now: datetime) -> dict[str, int]:
    """The most key bindings watched in each hour of the last day, this one included."""
    hour, oldest = f"{now:%Y-%m-%dT%H}", f"{now - _DAY:%Y-%m-%dT%H}"
    recent = {name: count for name, count in kept.items() if name >= oldest}
    return {**recent, hour: max(watched, recent.get(hour, 0))}


def _document(reading: HealthReading) -> dict[str, str]:
    return {
        "check": str(reading.check),
        "status": str(reading.status),
        "source": reading.source,
        "summary": reading.summary,
        "remediation": reading.remediation,
    }


def _reading(document: Mapping[str, str]) -> HealthReading:
    return HealthReading(
        check=HealthCheck(document["check"]),
        status=HealthStatus(document["status"]),
        source=document["source"],
        summary=document["summary"],
        remediation=document["remediation"],
    )
