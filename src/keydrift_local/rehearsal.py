"""Playing a scenario: the real function app, on a simulated tenant and a simulated clock.

Only what the platform does is simulated: Event Grid's delivery and retries, timers, and the queue's visibility and poison rules.
Within a step everything that is due is processed before the next step begins; the clock moves only with `advance`.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from logging import getLogger
from pathlib import Path
from typing import assert_never

from croniter import croniter

from keydrift import bootstrap
from keydrift.adapters.sqlite_queue import SqliteQueue
from keydrift.errors import ConfigError
from keydrift.settings import (
    DEFAULT_DELIVER_SCHEDULE,
    DEFAULT_PULSE_SCHEDULE,
    DEFAULT_SWEEP_SCHEDULE,
    DELIVER_SCHEDULE,
    PULSE_SCHEDULE,
    SWEEP_SCHEDULE,
    Settings,
)
from keydrift_local.clock import SimulatedClock
from keydrift_local.documents import JsonObject
from keydrift_local.event_delivery import leave_dead_letter
from keydrift_local.host_files import read_host_json
from keydrift_local.host_queue import POISON_SUFFIX, QueuePump, QueueSettings
from keydrift_local.laptop import APP, HOST_SETTINGS, environment, serving
from keydrift_local.local_azure import LocalAzure
from keydrift_local.scenario_file import Advance, Change, Fault, PlacedChange, RawEvent, ScenarioFile, Step, Sweep
from keydrift_local.worker import Trigger, Worker

log = getLogger(__name__)

ALERTS = "KeyDriftAlerts_CL"
# Event Grid's retries (azure-facts 3.7), in seconds; then every 12 hours until a day has passed
_RETRIES_S = (10, 30, 60, 300, 600, 1800, 3600, 10_800, 21_600, 43_200)
_NEVER_ENDS = 10_000
_SCHEDULES = {
    "sweep": (SWEEP_SCHEDULE, DEFAULT_SWEEP_SCHEDULE),
    "deliver": (DELIVER_SCHEDULE, DEFAULT_DELIVER_SCHEDULE),
    "pulse": (PULSE_SCHEDULE, DEFAULT_PULSE_SCHEDULE),
}
_POISON_FUNCTIONS = {"recheck": "recheck_poison", "receive_queued": "receive_poison"}

_worker: Worker | None = None


async def worker() -> Worker:
    """The process's worker: Microsoft's library indexes one app a process, once."""
    global _worker  # noqa: PLW0603  # the library's own registry is global too
    if _worker is None:
        with environment(HOST_SETTINGS):
            _worker = await Worker.start(APP)
    return _worker


@dataclass(slots=True, kw_only=True)
class _Timer:
    function: str
    due: datetime
    schedule: str


@dataclass(slots=True, kw_only=True)
class _Delivery:
    event: object
    due: datetime
    attempt: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The queue of each queue function, and the folder where Event Grid leaves what it could not deliver."""

    queues: Mapping[str, SqliteQueue]
    dead_letters: Path


class Rehearsal:
    """One scenario on its way. Make it inside `rehearsing`. `azure` stands in for Azure and keeps what is asked of it."""

    def __init__(
        self, azure: LocalAzure, clock: SimulatedClock, found: Worker, surroundings: Surroundings, *, through_queue: bool
    ) -> None:
        self.azure = azure
        self._clock, self._worker, self._through_queue = clock, found, through_queue
        self._queues, self._dead_letters = surroundings.queues, surroundings.dead_letters
        settings = QueueSettings.from_host_json(read_host_json(APP))
        self._pumps = [
            QueuePump(
                worker=found,
                function=trigger.function,
                queue=self._queues[trigger.function],
                poison=None if trigger.queue.endswith(POISON_SUFFIX) else self._queues[_POISON_FUNCTIONS[trigger.function]],
                settings=settings,
            )
            for trigger in found.triggers
            if trigger.queue is not None
        ]
        self._timers = [self._timer(trigger) for trigger in found.triggers if trigger.kind == "timerTrigger"]
        self._deliveries: list[_Delivery] = []

    def _timer(self, trigger: Trigger) -> _Timer:
        # What the worker was started with stands in the trigger; a scenario may set another
        name, default = _SCHEDULES.get(trigger.function, ("", trigger.schedule or ""))
        schedule = os.environ.get(name, default)
        return _Timer(function=trigger.function, schedule=schedule, due=_after(schedule, self._clock.now()))

    @property
    def alerts(self) -> list[JsonObject]:
        """The alerts delivered so far, as sent, in order."""
        return self.azure.logs.rows(ALERTS)

    @property
    def now(self) -> datetime:
        """The simulated time."""
        return self._clock.now()

    @property
    def dead_letters(self) -> Path:
        """The folder that stands for Event Grid's dead-letter container."""
        return self._dead_letters

    async def put_on_queue(self, function: str, message: str) -> None:
        """Put a message on the queue of a queue function, and process what is due."""
        await self._queues[function].put(message)
        await self._run_until(None)

    async def play(self, step: Step) -> None:
        """Play one step, and everything that is due then. Raises ConfigError for a change or fault that fits nothing."""
        end: datetime | None = None
        match step:
            case Sweep():
                await self._tick("sweep")
            case Change():
                # All of them before any of their events: what is changed together is seen together
                self._deliver_all([event for change in step.changes for event in self._change(step, change)])
            case RawEvent(event=event):
                self._deliver_all(event if isinstance(event, list) else [event])
            case Fault(fault=fault, where=where):
                _placed(where, lambda: self.azure.fault(fault))
            case Advance(by=by):
                end = self._clock.now() + by
            case _:
                assert_never(step)
        await self._run_until(end)

    def _change(self, step: Change, change: PlacedChange) -> list[JsonObject]:
        return _placed(change.where, lambda: self.azure.change(change.body, step.actor, silent=step.silent))

    def _deliver_all(self, events: list[JsonObject] | list[object]) -> None:
        self._deliveries += [_Delivery(event=event, due=self._clock.now()) for event in events]

    async def _run_until(self, end: datetime | None) -> None:
        """Run what is due: now, where `end` is None; else on the way there, moving the clock from one due time to the next."""
        for rounds in count():
            due = await self._next_due()
            now = self._clock.now()
            if due is None or (due > now and (end is None or due > end)):
                break
            if end is None and rounds > _NEVER_ENDS:
                raise ConfigError("the scenario never comes to rest: the same work is asked for again and again")
            self._clock.move_to(due)
            await self._run_due()
        if end is not None:
            self._clock.move_to(end)

    async def _next_due(self) -> datetime | None:
        queued = [due for queue in self._queues.values() if (due := await queue.next_due()) is not None]
        times = [*queued, *(timer.due for timer in self._timers), *(each.due for each in self._deliveries)]
        return min(times, default=None)

    async def _run_due(self) -> None:
        now = self._clock.now()
        for delivery in [each for each in self._deliveries if each.due <= now]:
            self._deliveries.remove(delivery)
            await self._deliver(delivery)
        for timer in self._timers:
            if timer.due <= now:
                timer.due = _after(timer.schedule, now)
                await self._tick(timer.function)
        for pump in self._pumps:
            await pump.drain_once()

    async def _deliver(self, delivery: _Delivery) -> None:
        if self._through_queue:
            await self._put_on_queue(delivery)
            return
        outcome = await self._worker.event("receive", delivery.event)
        if outcome.succeeded:
            return
        log.warning("an event was not taken and is delivered again", extra={"reason": outcome.error})
        if delivery.attempt < len(_RETRIES_S):
            later = self._clock.now() + timedelta(seconds=_RETRIES_S[delivery.attempt])
            self._deliveries.append(_Delivery(event=delivery.event, due=later, attempt=delivery.attempt + 1))
        else:
            leave_dead_letter(self._dead_letters, delivery.event, delivery.attempt + 1, self._clock.now())

    async def _put_on_queue(self, delivery: _Delivery) -> None:
        try:
            await self._queues["receive_queued"].put(json.dumps(delivery.event))
        except ValueError:
            # Larger than a queue's message: nothing is gained by trying again
            leave_dead_letter(self._dead_letters, delivery.event, 1, self._clock.now())

    async def _tick(self, function: str) -> None:
        outcome = await self._worker.tick(function, past_due=False, now=self._clock.now())
        if not outcome.succeeded:
            log.warning("a timer's function failed", extra={"function": function, "reason": outcome.error})


def _after(schedule: str, now: datetime) -> datetime:
    found: datetime = croniter(schedule, now, second_at_beginning=True, day_or=False).get_next(datetime)
    return found


def _placed[T](where: str, act: Callable[[], T]) -> T:
    try:
        return act()
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def in_memory() -> str | None:
    """A folder in memory where the system has one, for a state that is thrown away: no disk is waited for."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@asynccontextmanager
async def rehearsing(scenario: ScenarioFile, found: Worker, *, through_queue: bool = False) -> AsyncIterator[Rehearsal]:
    """Everything that a scenario needs, in a directory of its own that is removed at the end.

    Events are delivered to the function, or `through_queue`: Event Grid then puts each on the events queue.
    """
    clock = SimulatedClock(scenario.tenant.now or bootstrap.SystemClock().now().replace(microsecond=0))
    with (
        tempfile.TemporaryDirectory(prefix="keydrift-", dir=in_memory()) as folder,
        serving(scenario.tenant, clock=clock) as laptop,
    ):
        state = Path(folder) / "state.db"
        async with staged(laptop.azure, clock, found, state, scenario.settings, through_queue=through_queue) as rehearsal:
            yield rehearsal


@asynccontextmanager
async def staged(
    azure: LocalAzure,
    clock: SimulatedClock,
    found: Worker,
    state: Path,
    chosen: Mapping[str, str],
    *,
    through_queue: bool = False,
) -> AsyncIterator[Rehearsal]:
    """The function app on an Azure that is served, and set in the environment, already. The state file is kept.

    `chosen` are settings by their documented names.
    """
    with environment({"KEYDRIFT_STATE": f"sqlite:{state}", **chosen}):
        settings = Settings.from_environment(os.environ)
        names = {"recheck": settings.recheck_queue, "receive_queued": settings.events_queue}
        names |= {poison: f"{names[each]}{POISON_SUFFIX}" for each, poison in _POISON_FUNCTIONS.items()}
        queues = {function: SqliteQueue(state, name, clock) for function, name in names.items()}
        surroundings = Surroundings(queues=queues, dead_letters=state.parent / settings.dead_letter_container)
        application = bootstrap.compose(settings, os.environ, clock)
        bootstrap.install(application)
        try:
            yield Rehearsal(azure, clock, found, surroundings, through_queue=through_queue)
        finally:
            bootstrap.install(None)
            await application.close()
            for queue in queues.values():
                await queue.close()


async def rehearse(scenario: ScenarioFile, *, through_queue: bool = False) -> list[JsonObject]:
    """Play a scenario from beginning to end and return the delivered alerts."""
    async with rehearsing(scenario, await worker(), through_queue=through_queue) as rehearsal:
        for step in scenario.steps:
            await rehearsal.play(step)
        return rehearsal.alerts
