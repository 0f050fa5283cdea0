"""What the monitor's own state says of its health: signs taken at one moment to readings. Pure.

INVARIANT (silence is not health): what was told as not ok is told as ok once it is, so that no alert on it stands for ever or
falls silent by itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from keydrift.health import HealthCheck, HealthReading, HealthStatus
from keydrift.schedule import times_due

# Of docs/formats.md
SWEEPS_MISSED = 3
DELIVERY_OVERDUE = timedelta(minutes=30)
CANARY_LOST = timedelta(minutes=10)
MOST_UNREAD = 20
_NAMED = 5
_OK, _WARNING, _FAILED, _UNKNOWN = HealthStatus.OK, HealthStatus.WARNING, HealthStatus.FAILED, HealthStatus.UNKNOWN
# How long a clock may differ between the process that swept and the one that looks
_A_MOMENT = timedelta(seconds=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """One sink's outbox: alerts that wait, since when the oldest does, and why rows were refused for good."""

    sink: str
    waiting: int = 0
    oldest: datetime | None = None
    rejected: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs:
    """What was found. `since` is the first beat ever; `swept` when a sweep last ended; `most_watched` the most key bindings of
    the last day; `verdicts` counts key bindings; `unread` are documents of failed reads (`document.unread_document`);
    `event_at` is about when an event was last received; `unaccepted` how many health rows of the last beat were not accepted."""

    now: datetime
    since: datetime
    sweep_schedule: str
    swept: datetime | None
    watched: int
    most_watched: int
    key_stores: int
    verdicts: Mapping[str, int] = field(default_factory=dict)
    outgoing: Sequence[Outgoing] = ()
    dead_letters: int = 0
    unread: Sequence[Mapping[str, object]] = ()
    event_at: datetime | None = None
    unaccepted: int = 0


def readings(signs: Signs) -> tuple[HealthReading, ...]:
    """Everything that the signs say, the heartbeat first."""
    return (
        _heartbeat(signs),
        _sweep(signs),
        *_watchlist(signs),
        *(_delivery(each, signs.now) for each in signs.outgoing),
        *(_rejected(each) for each in signs.outgoing),
        _dead_letters(signs),
        *_unread(signs.unread),
    )


def _heartbeat(signs: Signs) -> HealthReading:
    counters: dict[str, int | float] = {
        "KeyStores": signs.key_stores,
        **{f"Verdict{name.replace('_', ' ').title().replace(' ', '')}": count for name, count in signs.verdicts.items()},
        "Undelivered": sum(each.waiting for each in signs.outgoing),
        "Rejected": sum(len(each.rejected) for each in signs.outgoing),
        "DeadLetters": signs.dead_letters,
        "HealthRowsNotAccepted": signs.unaccepted,
    }
    if signs.swept is not None:
        counters["SecondsSinceSweep"] = _seconds(signs.now - signs.swept)
    if signs.event_at is not None:
        counters["SecondsSinceEvent"] = _seconds(signs.now - signs.event_at)
    return HealthReading(
        check=HealthCheck.HEARTBEAT,
        status=_OK,
        summary=f"watches {signs.watched} key bindings of {signs.key_stores} key stores",
        value=signs.watched,
        unit="key bindings",
        counters=counters,
    )


def _sweep(signs: Signs) -> HealthReading:
    last = signs.swept or signs.since
    try:
        missed = times_due(signs.sweep_schedule, last + _A_MOMENT, signs.now, SWEEPS_MISSED)
    except ValueError as error:
        return HealthReading(
            check=HealthCheck.SWEEP, status=_UNKNOWN, summary=str(error), remediation="repair `KEYDRIFT_SWEEP_SCHEDULE`"
        )
    overdue = missed >= SWEEPS_MISSED
    ended = f"a sweep last ended at {signs.swept:%Y-%m-%dT%H:%M:%SZ}" if signs.swept else "no sweep has ended yet"
    return HealthReading(
        check=HealthCheck.SWEEP,
        status=_FAILED if overdue else _OK,
        summary=f"{ended}; {SWEEPS_MISSED} have fallen due since" if overdue else ended,
        remediation="look at the log of the function `sweep`: does it fail, or take longer than `functionTimeout`?"
        if overdue
        else "",
        value=_seconds(signs.now - last),
        unit="seconds",
    )


def _watchlist(signs: Signs) -> Iterable[HealthReading]:
    if signs.swept is None:
        return  # nothing was looked for yet; that the sweep is overdue is told by itself
    empty, shrunk = not signs.watched, 2 * signs.watched <= signs.most_watched
    problem = "nothing is watched" if empty else f"{signs.watched} key bindings are watched, {signs.most_watched} within a day"
    yield HealthReading(
        check=HealthCheck.WATCHLIST,
        status=_FAILED if empty or shrunk else _OK,
        summary=problem if empty or shrunk else f"{signs.watched} key bindings are watched",
        remediation="check that the monitor's identity sees every subscription (`keydrift doctor`), and `KEYDRIFT_SUBSCRIPTIONS`"
        if empty or shrunk
        else "",
        value=signs.watched,
        unit="key bindings",
    )


def _delivery(outgoing: Outgoing, now: datetime) -> HealthReading:
    waited = now - outgoing.oldest if outgoing.oldest is not None else timedelta()
    overdue = waited > DELIVERY_OVERDUE
    return HealthReading(
        check=HealthCheck.DELIVERIES,
        source=outgoing.sink,
        status=_FAILED if overdue else _OK,
        summary=f"{outgoing.waiting} alerts wait for {outgoing.sink}" if outgoing.waiting else "no alert waits",
        remediation="the log of the function `deliver` says why they are not accepted; `keydrift doctor` tries it"
        if overdue
        else "",
        value=_seconds(waited),
        unit="seconds",
    )


def _rejected(outgoing: Outgoing) -> HealthReading:
    count = len(outgoing.rejected)
    return HealthReading(
        check=HealthCheck.REJECTED_ROWS,
        source=outgoing.sink,
        status=_FAILED if count else _OK,
        summary=f"{outgoing.sink} refused {count} alerts for good, the first: {outgoing.rejected[0]}"
        if count
        else "none refused",
        remediation="repair the reason: they are kept aside and sent again once a day" if count else "",
        value=count,
        unit="rows",
    )


def _dead_letters(signs: Signs) -> HealthReading:
    return HealthReading(
        check=HealthCheck.DEAD_LETTERS,
        status=_WARNING if signs.dead_letters else _OK,
        summary=f"{signs.dead_letters} events of the last day could not be read or delivered" if signs.dead_letters else "none",
        remediation="they are kept in the state store, partition `dead-letters`, with the reason" if signs.dead_letters else "",
        value=signs.dead_letters,
        unit="events",
    )


def _unread(documents: Iterable[Mapping[str, object]]) -> Iterable[HealthReading]:
    """One reading for what one repair would open, named by the first source that it would."""
    by_repair: defaultdict[str, set[str]] = defaultdict(set)
    for each in documents:
        by_repair[str(each.get("repair") or "")].add(str(each.get("source") or ""))
    groups = sorted((sorted(sources), repair) for repair, sources in by_repair.items())
    for sources, repair in groups[:MOST_UNREAD]:
        more = f" and {len(sources) - _NAMED} more" if len(sources) > _NAMED else ""
        beyond = f"; {len(groups) - MOST_UNREAD} more repairs are needed" if len(groups) > MOST_UNREAD else ""
        yield HealthReading(
            check=HealthCheck.UNREAD_SOURCE,
            source=sources[0],
            status=_FAILED,
            summary=f"could not read {', '.join(sources[:_NAMED])}{more}{beyond}",
            remediation=repair,
        )


def canary(sent: datetime | None, back: datetime | None, now: datetime) -> HealthReading | None:
    """What became of the last canary event; None while it may still be on its way."""
    if sent is None:
        return None
    if back is not None:
        took = (back - sent).total_seconds()
        return HealthReading(
            check=HealthCheck.CANARY,
            status=_OK,
            summary=f"an event took {took:.1f} seconds from its topic through the queue",
            value=took,
            unit="seconds",
        )
    if now - sent <= CANARY_LOST:
        return None
    return HealthReading(
        check=HealthCheck.CANARY,
        status=_FAILED,
        summary=f"the canary event of {sent:%Y-%m-%dT%H:%M:%SZ} has not arrived",
        remediation="check the event subscription of the canary's topic, and the log of the functions `receive` and `recheck`",
    )


def closing(open_before: Iterable[tuple[str, str]], now: Sequence[HealthReading]) -> tuple[HealthReading, ...]:
    """A reading for each check and source that was told as not ok, and of which nothing is said any more."""
    said = {(str(each.check), each.source) for each in now}
    return tuple(
        HealthReading(check=HealthCheck(check), source=source, status=_OK, summary="no longer a problem")
        for check, source in sorted(open_before)
        if (check, source) not in said
    )


def still_open(said: Iterable[HealthReading]) -> list[list[str]]:
    """The checks and sources that are not ok, for the next time."""
    return [[str(each.check), each.source] for each in said if each.status is not _OK]


def _seconds(span: timedelta) -> float:
    return round(max(0.0, span.total_seconds()), 1)
