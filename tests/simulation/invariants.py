"""What has to be true of every history, however it went. Each check returns what is wrong, in words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import combinations
from typing import Any

from keydrift.facts import Principal, Read
from keydrift.inventory import Inventory
from keydrift.model import State
from keydrift.ports import Consumers
from keydrift.reading import reading
from keydrift.scan import scan
from keydrift.settings import Settings
from keydrift.storage import storage
from keydrift_local.azure.messages import Call
from keydrift_local.tenant_objects import Section
from simulation.history import LAG_BOUND_S
from simulation.wire import Wire, wired
from simulation.world import ENVIRONMENT, World
from support.tenants import Document

ALERTS = "Custom-KeyDriftAlerts_CL"
# Findings of the monitor, not of the tenant
_UNREADABLE = "facts-unreadable"
_OWN = frozenset({_UNREADABLE, "recheck-failed", "key-changed"})
# What may explain a finding further down (catalogue, "one cause, one code"), by what its requests are known by
_CAUSES = {
    "principal": ("graph.microsoft.com/",),
    "grants": ("/roleassignments", "/roledefinitions"),
    "denies": ("/denyassignments",),
}
_LAG = timedelta(seconds=LAG_BOUND_S + 1)

type Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Truth:
    """The verdict of each key binding, and whether the inventory had no gap: else a key binding may be missing."""

    verdicts: Mapping[str, tuple[State, frozenset[str]]]
    complete: bool


@dataclass(frozen=True, slots=True)
class Told:
    """The alerts of one key binding, each once, in their sequence."""

    binding: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The snapshots that a scan sees: its `facts`, and where they were read at another time, the consumers that were `listed` and
    the `grants` (assignments, denies and their definitions); and what it is refused (`_CAUSES`)."""

    facts: int
    listed: int
    grants: int
    refused: frozenset[str] = frozenset()

    @classmethod
    def of(cls, number: int) -> View:
        """One snapshot as it was."""
        return cls(facts=number, listed=number, grants=number)


class Judge:
    """Knows what was true when: a scan of each snapshot of the tenant, made when it is asked for.

    A verdict is made of facts of two ages: what the consumers said when they were last listed, and what the key store's recheck
    read. So its findings may be those of no single snapshot (a switched model, of an identity that is gone since), though each
    fact was true. Such a verdict is held against a scan that lists the consumers in one snapshot and reads the rest in another.

    And a finding is true though a scan does not report it, where the cause that explains it could not be read: then it is held
    against a scan that is refused what the recheck was.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self._known: dict[View, Truth] = {}

    async def at(self, number: int) -> Truth:
        """What a scan of that snapshot says of each key binding."""
        return await self.seen(View.of(number))

    async def seen(self, view: View) -> Truth:
        """What a scan says of each key binding that sees this."""
        if view not in self._known:
            self._known[view] = await scanned(self.world, view)
        return self._known[view]

    async def was_true(self, binding: str, row: Row, code: str) -> bool:
        """Whether a finding held at a moment that an alert may speak of."""
        views = await self.views(binding, row)
        refused = self._refused(row)
        blinded = [replace(view, refused=each) for each in refused for view in views]
        return await self._any(binding, [*views, *blinded], lambda codes: code in codes)

    async def was_ended(self, binding: str, row: Row, code: str) -> bool:
        """Whether a finding did not hold at a moment that an alert may speak of."""
        return await self._any(binding, await self.views(binding, row), lambda codes: code not in codes)

    async def _any(self, binding: str, views: Sequence[View], holds: Callable[[frozenset[str]], bool]) -> bool:
        # What was true all at once, and was read, is asked first: there are few such views
        for view in sorted(views, key=lambda each: (len(each.refused), len({each.facts, each.listed, each.grants}))):
            found = (await self.seen(view)).verdicts.get(binding)
            if found is not None and holds(found[1]):
                return True
        return False

    def _refused(self, row: Row) -> list[frozenset[str]]:
        """What a recheck may not have been answered: some of what failed while it read."""
        first, last = _time(row["ReadAt"]), _time(row["DetectedAt"])
        failed = [what for at, what in self.world.wire.failed if first <= at <= last]
        causes = [cause for cause, marks in _CAUSES.items() if any(mark in what for mark in marks for what in failed)]
        return [frozenset(some) for size in range(1, len(causes) + 1) for some in combinations(causes, size)]

    async def views(self, binding: str, row: Row) -> list[View]:
        """What an alert may have seen: facts within the lag; consumers since the last sweep that is certain to have listed them
        (README, blind spots), or since then by an event, within the lag too."""
        read, last = _time(row["ReadAt"]), _time(row["DetectedAt"])
        sweeps = [began for began, ended in self.world.full_sweeps if ended <= read]
        listed = await self.listing(binding, max(sweeps, default=self.world.wire.snapshots[0].since) - _LAG, last)
        return [View(facts=n, listed=each, grants=n) for n in self.between(read - _LAG, last) for each in listed]

    async def listing(self, binding: str, first: datetime, last: datetime) -> list[int]:
        """The snapshots in which the consumers may have been listed. Where none of them needs the key any more, the monitor has
        not heard of that: then it is the last one that did."""
        numbers = self.between(first, last)
        while numbers[0] > 0 and not any([binding in (await self.at(number)).verdicts for number in numbers]):
            numbers.insert(0, numbers[0] - 1)
        return numbers

    def between(self, first: datetime, last: datetime) -> list[int]:
        """The snapshots that stood at some moment of a stretch of time."""
        shown = self.world.wire.snapshots
        ends = [*(each.since for each in shown[1:]), datetime.max.replace(tzinfo=first.tzinfo)]
        return [n for n, each in enumerate(shown) if each.since <= last and ends[n] >= first]


class _Consumers:
    """The consumers as listed in the snapshot of a view."""

    def __init__(self, consumers: Consumers, wire: Wire, view: View) -> None:
        self._consumers, self._wire, self._view = consumers, wire, view

    async def subscriptions(self) -> Read[tuple[str, ...]]:
        return await self._consumers.subscriptions()

    async def tenant_of(self, subscription: str) -> Read[str]:
        return await self._consumers.tenant_of(subscription)

    async def subscriptions_below(self, management_group: str) -> Read[tuple[str, ...]]:
        return await self._consumers.subscriptions_below(management_group)

    async def read(self, subscriptions: Sequence[str], *, legacy: bool = True) -> Inventory:
        facts, self._wire.past = self._wire.past, lambda _call: self._view.listed
        try:
            return await self._consumers.read(subscriptions, legacy=legacy)
        finally:
            self._wire.past = facts


async def scanned(world: World, view: View) -> Truth:
    """The verdict of every key binding that a scan finds which sees this."""
    wire = world.wire
    environment = {**ENVIRONMENT, "KEYDRIFT_TENANT_ID": world.azure.tenant.tenant_id}
    settings = Settings.from_environment(environment)
    wire.past = partial(_answered_from, view)
    try:
        with wired(wire, storage):
            reads = reading(settings, world.clock)
        policy = reads.policy
        if "principal" in view.refused:  # its object id is known from before
            known = Principal(object_id=_backup(world, view)["id"], app_id=policy.backup_app_id)
            policy = replace(policy, declared={policy.backup_app_id.lower(): known})
        consumers = _Consumers(reads.consumers, wire, view)
        found = await scan(consumers=consumers, bulk=reads.bulk, clock=world.clock, policy=policy, subscriptions=())
    finally:
        wire.past = None
    return Truth({each.binding.id: (each.state, each.codes) for each in found.verdicts}, not found.inventory_unread)


def _answered_from(view: View, call: Call) -> int | None:
    where = f"{call.host}{call.path}".lower()
    if any(mark in where for cause in view.refused for mark in _CAUSES[cause]):
        return None
    return view.grants if "/providers/microsoft.authorization/" in where else view.facts


def _backup(world: World, view: View) -> Document:
    """The Backup Management Service's service principal."""
    return world.wire.snapshots[view.facts].tenant.every(Section.SERVICE_PRINCIPALS)[0].body


async def violations(world: World) -> list[str]:
    """Everything that is wrong with a settled world."""
    rows = [row for _, stream, row in world.wire.rows if stream == ALERTS]
    told, wrong = told_of(rows)
    judge = Judge(world)
    for each in told:
        wrong += list(in_order(each))
        wrong += [problem async for problem in true_then(each, judge)]
    wrong += [problem async for problem in settled(told, world, judge)]
    wrong += [problem async for problem in _noticed(told, world, judge)]
    wrong += [problem async for problem in _delivered(world)]
    return wrong


def told_of(rows: Sequence[Row]) -> tuple[list[Told], list[str]]:
    """The alerts by key binding. The same id always is the same row, and arrives in order but for repetitions."""
    wrong: list[str] = []
    by_id: dict[str, Row] = {}
    first: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        known = by_id.setdefault(row["AlertId"], row)
        if known != row:
            wrong.append(f"alert {row['AlertId']} came twice with different content")
        elif known is row:
            first[row["BindingId"]].append(row)
    for binding, mine in first.items():
        sequences = [row["Sequence"] for row in mine]
        if sequences != sorted(set(sequences)):
            wrong.append(f"binding {binding}: alerts out of order: {sequences}")
    return [Told(binding, tuple(sorted(mine, key=lambda row: row["Sequence"]))) for binding, mine in first.items()], wrong


def in_order(told: Told) -> Iterator[str]:
    """Opened once, changed while open, resolved once."""
    is_open = False
    for row in told.rows:
        kind, sequence = row["Kind"], row["Sequence"]
        if "key-changed" in row["FindingCodes"]:
            continue
        if kind == "opened" and is_open:
            yield f"binding {told.binding}: opened twice, at {sequence}"
        if kind in ("changed", "resolved") and not is_open:
            yield f"binding {told.binding}: {kind} without being open, at {sequence}"
        is_open = kind != "resolved"


async def true_then(told: Told, judge: Judge) -> Any:
    """Every finding of an alert was true at some moment between its read, less the lag, and its detection; and where an alert
    says that something is well again, each finding that it ends was untrue at some such moment."""
    before = frozenset[str]()
    for row in told.rows:
        codes = frozenset(row["FindingCodes"]) - _OWN
        for code in sorted(codes):
            if not await judge.was_true(told.binding, row, code):
                yield f"binding {told.binding}, alert {row['Sequence']}: `{code}` was never true around {row['ReadAt']}"
        # What cannot be read has not ended: then nothing is said of what was told before, and it is held against the next row
        blind = row["Verdict"] == "unknown" or _UNREADABLE in row["FindingCodes"]
        if row["Reason"] != "retired" and not blind:
            for code in sorted(before - codes):
                if not await judge.was_ended(told.binding, row, code):
                    yield f"binding {told.binding}, alert {row['Sequence']}: `{code}` had not ended around {row['ReadAt']}"
        before = before | codes if blind else codes
        if row["Kind"] == "resolved":
            before = frozenset()


async def settled(told: list[Told], world: World, judge: Judge) -> Any:
    """After it has come to rest, what was told last is what a fresh scan says."""
    if not (await judge.at(0)).verdicts:
        yield "nothing was watched: this history proves nothing"
    truth = await judge.at(len(world.wire.snapshots) - 1)
    last = {each.binding: each.rows[-1] for each in told}
    for binding, (state, codes) in truth.verdicts.items():
        row = last.get(binding)
        is_open = row is not None and row["Kind"] != "resolved" and row["Verdict"] != "held"
        said = (
            (State(row["Verdict"]), frozenset(row["FindingCodes"]) - {"key-changed"})
            if row and is_open
            else (State.HELD, frozenset())
        )
        if said != (state, codes):
            yield f"binding {binding}: told {said[0]} {sorted(said[1])}, a scan says {state} {sorted(codes)}"
    for binding, row in last.items():
        if truth.complete and binding not in truth.verdicts and row["Kind"] != "resolved" and row["Verdict"] != "held":
            yield f"binding {binding}: still open, and nothing needs the key any more"


async def _noticed(told: list[Told], world: World, judge: Judge) -> Any:
    """A loss that outlives two undisturbed sweeps is alerted, and opened once."""
    shown = world.wire.snapshots
    rows = {each.binding: each.rows for each in told}
    for number in range(len(shown) - 1):
        stretch = [each for each in world.full_sweeps if each[0] > shown[number].since]
        for binding, (state, _) in (await judge.at(number)).verdicts.items() if len(stretch) > 1 else ():
            if state is not State.LOST:
                continue
            end = number
            while end + 1 < len(shown) and ((await judge.at(end + 1)).verdicts.get(binding) or (None,))[0] is State.LOST:
                end += 1
            until = shown[end + 1].since if end + 1 < len(shown) else world.clock.now()
            inside = [each for each in stretch if each[1] + _LAG < until]
            if len(inside) < 2:
                continue
            known = [r for r in rows.get(binding, ()) if r["Verdict"] == "lost" and _time(r["ReadAt"]) < until]
            if not known:
                lasted = f"from {shown[number].since} to {until}, through {len(inside)} full sweeps"
                yield f"binding {binding}: lost {lasted}, and never told"


async def _delivered(world: World) -> Any:
    """No alert waits for delivery, and no message is left but those that fall due later."""
    pending = [key for key in world.entities._stored if key[1].startswith("alert/")]
    if pending:
        yield f"{len(pending)} alerts were never delivered"


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
