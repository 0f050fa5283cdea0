"""What has to be true of every history, however it went. Each check returns what is wrong, in words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from keydrift.model import State
from keydrift.reading import reading
from keydrift.scan import scan
from keydrift.settings import Settings
from keydrift.storage import storage
from simulation.history import LAG_BOUND_S
from simulation.wire import wired
from simulation.world import ENVIRONMENT, World

ALERTS = "Custom-KeyDriftAlerts_CL"
# Findings of the monitor, not of the tenant
_OWN = frozenset({"facts-unreadable", "recheck-failed", "key-changed"})
# What a switched permission model looks like while the other model's grants cannot be read
_SWITCHED = "permission-model-switched"
_OF_GRANTS = frozenset(
    {
        "access-policy-absent",
        "access-policy-insufficient",
        "role-assignment-absent",
        "role-insufficient",
        "hsm-role-assignment-absent",
        "hsm-role-insufficient",
    }
)
# What a consumer says of itself is as old as the last inventory, unless an event about it has come since (README, blind spots)
_OF_CONSUMERS = frozenset({"identity-none", "identity-detached", "identity-deleted", "key-rotation-stalled"})
_INVENTORY_AGE = timedelta(minutes=16)
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


class Judge:
    """Knows what was true when: a scan of each snapshot of the tenant, made when it is asked for."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._known: dict[int, Truth] = {}

    async def at(self, number: int) -> Truth:
        """What a scan of that snapshot says of each key binding."""
        if number not in self._known:
            self._known[number] = await scanned(self._world, number)
        return self._known[number]

    async def of(self, binding: str, code: str, row: Row) -> list[tuple[State, frozenset[str]] | None]:
        """What was true of a key binding at the moments that an alert may speak of, as far as that code goes."""
        age = _INVENTORY_AGE if code in _OF_CONSUMERS else timedelta()
        window = self.between(_time(row["ReadAt"]) - _LAG - age, _time(row["DetectedAt"]))
        return [(await self.at(number)).verdicts.get(binding) for number in window]

    def between(self, first: datetime, last: datetime) -> list[int]:
        """The snapshots that stood at some moment of a stretch of time."""
        shown = self._world.wire.snapshots
        ends = [*(each.since for each in shown[1:]), datetime.max.replace(tzinfo=first.tzinfo)]
        return [n for n, each in enumerate(shown) if each.since <= last and ends[n] >= first]


async def scanned(world: World, number: int) -> Truth:
    """The verdict of every key binding that a scan of a snapshot finds."""
    present, lag = world.azure.tenant, world.wire.lag
    world.azure.tenant, world.wire.lag = world.wire.snapshots[number].tenant, timedelta()
    environment = {**ENVIRONMENT, "KEYDRIFT_TENANT_ID": present.tenant_id}
    settings = Settings.from_environment(environment)
    try:
        with wired(world.wire, storage):
            reads = reading(settings, world.clock)
        found = await scan(consumers=reads.consumers, bulk=reads.bulk, clock=world.clock, policy=reads.policy, subscriptions=())
    finally:
        world.azure.tenant, world.wire.lag = present, lag
    return Truth({each.binding.id: (each.state, each.codes) for each in found.verdicts}, not found.inventory_unread)


async def violations(world: World) -> list[str]:
    """Everything that is wrong with a settled world."""
    rows = [row for _, stream, row in world.wire.rows if stream == ALERTS]
    told, wrong = _told(rows)
    judge = Judge(world)
    for each in told:
        wrong += list(_order(each))
        wrong += [problem async for problem in _truth(each, judge)]
    wrong += [problem async for problem in _settled(told, world, judge)]
    wrong += [problem async for problem in _noticed(told, world, judge)]
    wrong += [problem async for problem in _delivered(world)]
    return wrong


def _told(rows: Sequence[Row]) -> tuple[list[Told], list[str]]:
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


def _order(told: Told) -> Iterator[str]:
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


async def _truth(told: Told, judge: Judge) -> Any:
    """Every finding of an alert was true at some moment between its read, less the lag, and its detection; and where an alert
    says that something is well again, each finding that it ends was untrue at some such moment."""
    before = frozenset[str]()
    for row in told.rows:
        codes = frozenset(row["FindingCodes"]) - _OWN
        for code in sorted(codes):
            truths = await judge.of(told.binding, code, row)
            # Where nothing needed the key for a moment, a scan of that moment does not judge it
            if not any(truth is None or _is_true(code, truth[1]) for truth in truths):
                yield f"binding {told.binding}, alert {row['Sequence']}: `{code}` was never true around {row['ReadAt']}"
        if row["Reason"] != "retired" and row["Verdict"] != "unknown":
            for code in sorted(before - codes):
                truths = await judge.of(told.binding, code, row)
                if not any(truth is None or code not in truth[1] for truth in truths):
                    yield f"binding {told.binding}, alert {row['Sequence']}: `{code}` had not ended around {row['ReadAt']}"
        before = codes if row["Verdict"] != "unknown" else before
        if row["Kind"] == "resolved":
            before = frozenset()


def _is_true(code: str, codes: frozenset[str]) -> bool:
    """Whether a finding holds where a scan finds these. What is wrong with the identity hides its grants in a scan (catalogue,
    "one cause, one code"), not in a recheck that has not heard of the identity yet."""
    return code in codes or (code in _OF_GRANTS and bool(codes & (_OF_CONSUMERS | {_SWITCHED})))


async def _settled(told: list[Told], world: World, judge: Judge) -> Any:
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
