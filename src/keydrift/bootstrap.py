"""Settings to adapters to Monitor: the only place that sees both sides. Importing it does no I/O and reads no settings."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from keydrift.logs import show_extras
from keydrift.ports import Clock, RowSink
from keydrift.reading import Reading, reading
from keydrift.settings import Settings
from keydrift.storage import Closeable, dead_letter_container, storage

if TYPE_CHECKING:
    from keydrift.dead_letters import DeadLetters
    from keydrift.doctor.examined import Examined
    from keydrift.monitor import Monitor
    from keydrift.outbox import OutboxName
    from keydrift.page.answer import Answer
    from keydrift.pulse import Pulse
    from keydrift.state import State


# A large tenant's facts and records are many objects without a cycle: with Python's own thresholds (2,000, 10, 10) all of them
# are gone through again and again, an eighth of a sweep's CPU
_GARBAGE = (20_000, 20, 20)


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The present time in UTC."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """A composed monitor."""

    monitor: Monitor
    dead_letters: DeadLetters
    pulse: Pulse
    reading: Reading
    opened: tuple[Closeable, ...]

    async def close(self) -> None:
        """Close what was opened."""
        for each in self.opened:
            await each.close()
        await self.reading.close()


def compose(settings: Settings, environment: Mapping[str, str], clock: Clock) -> Application:
    """Compose the monitor. Needs a running event loop. Raises ConfigError."""
    from keydrift.dead_letters import DeadLetters
    from keydrift.delivery import Deliverer
    from keydrift.discovery import Discovery, Sources
    from keydrift.monitor import Monitor
    from keydrift.reconcile import Reconciler
    from keydrift.state import State
    from keydrift.sweep import Sweeper
    from keydrift.tables import POSTURE

    gc.set_threshold(*_GARBAGE)
    reads = reading(settings, clock)
    entities, queue = storage(settings, environment, clock, reads)
    container = dead_letter_container(settings, environment, reads)
    sinks = alert_sinks(settings, reads)
    state = State(entities, outboxes=tuple(sinks))
    deliverer = Deliverer(memory=state, sinks=sinks, clock=clock)
    policy = reads.policy
    reconciler = Reconciler(
        memory=state,
        queue=queue,
        collector=reads.collector,
        deliverer=deliverer,
        clock=clock,
        policy=policy,
        posture=row_sink(settings, reads, POSTURE) if settings.dcr_endpoint else None,
    )
    sources = Sources(
        complete=reads.consumers,
        hearsay=None if settings.inventory == "arm" else reads.hearsay,
        always_hearsay=settings.inventory == "resource-graph",
        subscriptions=settings.subscriptions,
    )
    monitor = Monitor(
        state=state,
        queue=queue,
        reconciler=reconciler,
        deliverer=deliverer,
        discovery=Discovery(
            state=state,
            sources=sources,
            reconciler=reconciler,
            clock=clock,
            backup_app_id=policy.backup_app_id,
            declarations=policy.declarations,
            tags=policy.tags,
        ),
        sweeper=Sweeper(
            memory=state,
            queue=queue,
            bulk=reads.bulk,
            reconciler=reconciler,
            policy=policy,
            key_reads=settings.sweep_key_reads,
        ),
        clock=clock,
        subscriptions=settings.subscriptions,
        posture_interval=settings.posture_interval,
    )
    dead_letters = DeadLetters(state=state, container=container, receive=monitor.receive, clock=clock)
    return Application(
        monitor=monitor,
        dead_letters=dead_letters,
        pulse=_pulse(settings, environment, clock, reads, state),
        reading=reads,
        opened=(entities, queue, container),
    )


def _pulse(settings: Settings, environment: Mapping[str, str], clock: Clock, reads: Reading, state: State) -> Pulse:
    """What the monitor tells of itself."""
    from keydrift.adapters.doctor_reader import DoctorReader
    from keydrift.adapters.event_topic import CanaryTopic
    from keydrift.adapters.http import JsonReader
    from keydrift.doctor.event_health import EventHealth
    from keydrift.pulse import Pulse
    from keydrift.settings import DEFAULT_SWEEP_SCHEDULE, SWEEP_SCHEDULE
    from keydrift.tables import HEALTH

    who, transport, manager = reads.credential, reads.transport, f"https://{reads.cloud.resource_manager}"
    topics = DoctorReader(JsonReader(manager, manager, who, transport, "Reader at the scope"), who, {})
    canaries = settings.canary_topic_endpoint
    return Pulse(
        state=state,
        sink=row_sink(settings, reads, HEALTH),
        clock=clock,
        events=EventHealth(reads=topics, consumers=reads.consumers, subscriptions=settings.subscriptions, clock=clock),
        canaries=CanaryTopic(endpoint=canaries, credential=who, transport=transport) if canaries else None,
        sweep_schedule=environment.get(SWEEP_SCHEDULE) or DEFAULT_SWEEP_SCHEDULE,
        tenant_id=settings.tenant_id,
    )


def alert_sinks(settings: Settings, reads: Reading) -> Mapping[OutboxName, RowSink]:
    """Every sink that alerts go to: Log Analytics always, an Event Grid topic where one is set."""
    from keydrift.outbox import OutboxName

    sinks: dict[OutboxName, RowSink] = {OutboxName.LOG_ANALYTICS: alert_sink(settings, reads)}
    if settings.alert_topic_endpoint:
        from keydrift.adapters.event_topic import EventTopicSink

        sinks[OutboxName.EVENT_TOPIC] = EventTopicSink(
            endpoint=settings.alert_topic_endpoint, credential=reads.credential, transport=reads.transport
        )
    return sinks


def alert_sink(settings: Settings, reads: Reading) -> RowSink:
    """Where alerts go: Log Analytics, or nowhere yet."""
    from keydrift.tables import ALERTS

    return row_sink(settings, reads, ALERTS, settings.alert_stream)


def row_sink(settings: Settings, reads: Reading, table: str, stream: str | None = None) -> RowSink:
    """Where the rows of a table go."""
    from keydrift.adapters.log_analytics import LogAnalyticsSink, UnconfiguredSink
    from keydrift.tables import stream_of

    if not settings.dcr_endpoint or not settings.dcr_rule_id:
        return UnconfiguredSink()
    return LogAnalyticsSink(
        cloud=reads.cloud,
        endpoint=settings.dcr_endpoint,
        rule_id=settings.dcr_rule_id,
        stream=stream or stream_of(table),
        credential=reads.credential,
        transport=reads.transport,
    )


@asynccontextmanager
async def examined(settings: Settings, environment: Mapping[str, str], clock: Clock) -> AsyncIterator[Examined]:
    """The monitor as the doctor looks at it, closed afterwards. Raises ConfigError."""
    from keydrift.adapters.authorization import AuthorizationReader
    from keydrift.adapters.cloud import cloud_of
    from keydrift.adapters.directory import DirectoryReader
    from keydrift.adapters.doctor_reader import DoctorReader
    from keydrift.adapters.http import JsonReader
    from keydrift.adapters.managed_hsm import ManagedHsmReader
    from keydrift.adapters.probe_reader import ProbeReader
    from keydrift.adapters.resource_graph import ResourceGraph
    from keydrift.doctor.examine import ARM, GRAPH, HSM, MONITOR
    from keydrift.doctor.examined import Examined
    from keydrift.doctor.settings import Surroundings

    reads = reading(settings, clock)
    opened: list[Closeable] = [reads]
    try:
        entities, queue = storage(settings, environment, clock, reads)
        opened += [entities, queue]
        cloud, who, transport = reads.cloud, reads.credential, reads.transport
        manager, graph_host = f"https://{cloud.resource_manager}", f"https://{cloud.graph}"
        arm = JsonReader(manager, manager, who, transport, "Reader at the scope")
        graph = JsonReader(graph_host, graph_host, who, transport, "Microsoft Graph Application.Read.All")
        audiences = {ARM: manager, GRAPH: graph_host, HSM: cloud.hsm_audience, MONITOR: f"{cloud.monitor_audience}/"}
        addresses = {"KEYDRIFT_STATE": settings.state, "KEYDRIFT_DCR_ENDPOINT": settings.dcr_endpoint or ""}
        clouds = {name: found.name for name, url in addresses.items() if (found := cloud_of(url)) is not None}
        yield Examined(
            settings=settings,
            surroundings=Surroundings(environment=environment, clouds=clouds),
            app_id=reads.policy.backup_app_id,
            app_name=cloud.backup_app_name,
            clock=clock,
            reads=DoctorReader(arm, who, {name: f"{audience}/.default" for name, audience in audiences.items()}),
            consumers=reads.consumers,
            managed_hsms=ManagedHsmReader(cloud, who, transport),
            hsm_suffix=cloud.hsm_suffix,
            grants=AuthorizationReader(arm),
            probes=ProbeReader(arm, ResourceGraph(arm, clock)),
            directory=DirectoryReader(graph, arm),
            entities=entities,
            queue=queue,
            sink=alert_sink(settings, reads),
        )
    finally:
        for each in reversed(opened):
            await each.close()


_composed: Application | None = None


def monitor() -> Monitor:
    """The process's monitor, composed from the environment at the first trigger. Raises ConfigError."""
    return _application().monitor


def dead_letters() -> DeadLetters:
    """What takes back the events that were given up, of the same process. Raises ConfigError."""
    return _application().dead_letters


def pulse() -> Pulse:
    """What tells of the monitor itself, of the same process. Raises ConfigError."""
    return _application().pulse


def _application() -> Application:
    global _composed  # noqa: PLW0603  # one monitor a process: the Functions host keeps no object between invocations
    if _composed is None:
        show_extras()
        _composed = compose(Settings.from_environment(os.environ), os.environ, SystemClock())
    return _composed


async def posture(accept: str | None, asked: str | None) -> Answer:
    """The posture in the format that a request asks for: its `Accept` and its query's `format`. Raises ConfigError."""
    from keydrift.page.answer import Answer, answered, wanted_html

    html = wanted_html(accept, asked)
    return html if isinstance(html, Answer) else answered(await monitor().posture(), html=html)


async def close() -> None:
    """Close the process's monitor, if there is one."""
    global _composed  # noqa: PLW0603
    if _composed is not None:
        await _composed.close()
        _composed = None


def install(application: Application | None) -> None:
    """Make this the process's monitor: for a host that brings its own clock. None forgets the one there is."""
    global _composed  # noqa: PLW0603
    _composed = application
