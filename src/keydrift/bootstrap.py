"""Settings to adapters to Monitor: the only place that sees both sides. Importing it does no I/O and reads no settings."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from keydrift.errors import ConfigError
from keydrift.facts import Principal
from keydrift.logs import show_extras
from keydrift.ports import AlertSink, Clock, EntityStore, RecheckQueue
from keydrift.settings import Settings

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential
    from azure.core.pipeline.transport import AioHttpTransport

    from keydrift.adapters.cloud import Cloud
    from keydrift.adapters.http import ClockTransport
    from keydrift.bulk.collector import BulkCollector
    from keydrift.collect import Collector
    from keydrift.declared import Declarations
    from keydrift.doctor.examine import Examined
    from keydrift.monitor import Monitor
    from keydrift.ports import Consumers
    from keydrift.reconcile import Policy


# Where `function_app.py` and `src` stand: a function app's working directory is the host's
_APP_ROOT = Path(__file__).resolve().parents[2]


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The present time in UTC."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class Closeable(Protocol):
    """Something that holds connections."""

    async def close(self) -> None:
        """Close them."""
        ...


class ClosableEntities(EntityStore, Closeable, Protocol):
    """A state store that holds a connection."""


class ClosableQueue(RecheckQueue, Closeable, Protocol):
    """A queue that holds a connection."""

    async def try_out(self) -> None:
        """Add a message that nobody receives, and delete it. Raises `StateError`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What reads Azure: enough for a scan."""

    cloud: Cloud
    credential: AsyncTokenCredential
    transport: ClockTransport
    consumers: Consumers
    hearsay: Consumers
    collector: Collector
    bulk: BulkCollector
    policy: Policy

    async def close(self) -> None:
        """Close the connections."""
        await self.credential.close()
        await self.transport.shut()


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """A composed monitor."""

    monitor: Monitor
    reading: Reading
    opened: tuple[Closeable, ...]

    async def close(self) -> None:
        """Close what was opened."""
        for each in self.opened:
            await each.close()
        await self.reading.close()


def reading(settings: Settings, clock: Clock) -> Reading:
    """Compose what reads Azure. Needs a running event loop."""
    from keydrift.adapters.arm_inventory import ArmInventory  # imported where used: import time is cold start
    from keydrift.adapters.authorization import AuthorizationReader
    from keydrift.adapters.bulk_reader import BulkReader
    from keydrift.adapters.cloud import cloud_named
    from keydrift.adapters.directory import DirectoryReader
    from keydrift.adapters.graph_inventory import GraphInventory
    from keydrift.adapters.http import ClockTransport, JsonReader
    from keydrift.adapters.key_vault import KeyVaultReader
    from keydrift.adapters.managed_hsm import ManagedHsmReader
    from keydrift.adapters.pacing import PacedTransport, ReadBudget
    from keydrift.adapters.resource_graph import ResourceGraph
    from keydrift.bulk.collector import BulkCollector
    from keydrift.collect import Collector, Readers
    from keydrift.reconcile import Policy

    # First: where the file is wrong, nothing has been opened yet that would have to be closed
    by_hand = declarations(settings)
    cloud = cloud_named(settings.cloud)
    transport = ClockTransport(clock)
    identity = credential(settings, cloud)
    manager, graph_host = f"https://{cloud.resource_manager}", f"https://{cloud.graph}"
    arm = JsonReader(manager, manager, identity, transport, "Reader at the scope")
    graph = JsonReader(graph_host, graph_host, identity, transport, "Microsoft Graph Application.Read.All")
    app_id = settings.backup_app_id or cloud.backup_app_id
    declared = {}
    if settings.backup_object_id:
        declared[app_id] = Principal(object_id=settings.backup_object_id, app_id=app_id, name=cloud.backup_app_name)
    # What reads in bulk keeps to ARM's published budget; what an event asks for does not wait behind it
    paced = PacedTransport(transport, ReadBudget(clock))
    paced_arm = JsonReader(manager, manager, identity, paced, "Reader at the scope")
    hsms = ManagedHsmReader(cloud, identity, transport)

    def readers(through: AioHttpTransport, manager_reader: JsonReader) -> Readers:
        return Readers(
            key_stores=KeyVaultReader(cloud, identity, through),
            grants=AuthorizationReader(manager_reader),
            managed_hsms=hsms,
            directory=DirectoryReader(graph, manager_reader),
        )

    policy = Policy(
        backup_app_id=app_id,
        key_expiry=settings.key_expiry_horizon,
        grant_expiry=settings.grant_expiry_horizon,
        tenant_id=settings.tenant_id,
        declared=declared,
        declarations=by_hand,
    )
    return Reading(
        cloud=cloud,
        credential=identity,
        transport=transport,
        consumers=ArmInventory(arm),
        hearsay=GraphInventory(arm, ResourceGraph(arm, clock)),
        collector=Collector(readers(transport, arm), clock),
        bulk=BulkCollector(readers(paced, paced_arm), BulkReader(paced_arm), clock),
        policy=policy,
    )


def declarations(settings: Settings) -> Declarations:
    """What the watchlist file declares; nothing where none is set. Raises ConfigError."""
    from keydrift.declared import NOTHING_DECLARED

    if settings.watchlist is None:
        return NOTHING_DECLARED
    from keydrift.adapters.watchlist_file import read_watchlist

    return read_watchlist(_APP_ROOT / settings.watchlist, settings.watchlist)


def credential(settings: Settings, cloud: Cloud) -> AsyncTokenCredential:
    """The managed identity where the platform offers one, else whoever is signed in on this machine."""
    from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential

    if "IDENTITY_ENDPOINT" in os.environ:
        return ManagedIdentityCredential(client_id=settings.identity_client_id)
    return DefaultAzureCredential(authority=cloud.authority)


def compose(settings: Settings, environment: Mapping[str, str], clock: Clock) -> Application:
    """Compose the monitor. Needs a running event loop. Raises ConfigError."""
    from keydrift.monitor import Monitor
    from keydrift.reconcile import Reconciler
    from keydrift.state import State

    reads = reading(settings, clock)
    entities, queue = storage(settings, environment, clock, reads)
    sink = alert_sink(settings, reads)
    state = State(entities)
    reconciler = Reconciler(memory=state, queue=queue, collector=reads.collector, sink=sink, clock=clock, policy=reads.policy)
    monitor = Monitor(
        state=state,
        queue=queue,
        reconciler=reconciler,
        consumers=reads.consumers,
        hearsay=reads.hearsay if settings.inventory == "resource-graph" else None,
        clock=clock,
        backup_app_id=reads.policy.backup_app_id,
        subscriptions=settings.subscriptions,
        declarations=reads.policy.declarations,
    )
    return Application(monitor=monitor, reading=reads, opened=(entities, queue))


def alert_sink(settings: Settings, reads: Reading) -> AlertSink:
    """Where alerts go: Log Analytics, or nowhere yet."""
    from keydrift.adapters.log_analytics import LogAnalyticsSink, UnconfiguredSink

    if not settings.dcr_endpoint or not settings.dcr_rule_id:
        return UnconfiguredSink()
    return LogAnalyticsSink(
        cloud=reads.cloud,
        endpoint=settings.dcr_endpoint,
        rule_id=settings.dcr_rule_id,
        stream=settings.alert_stream,
        credential=reads.credential,
        transport=reads.transport,
    )


@asynccontextmanager
async def examined(settings: Settings, environment: Mapping[str, str], clock: Clock) -> AsyncIterator[Examined]:
    """The monitor as the doctor looks at it, closed afterwards. Raises ConfigError."""
    from keydrift.adapters.cloud import cloud_of
    from keydrift.adapters.directory import DirectoryReader
    from keydrift.adapters.doctor_reader import DoctorReader
    from keydrift.adapters.http import JsonReader
    from keydrift.adapters.managed_hsm import ManagedHsmReader
    from keydrift.doctor.examine import ARM, GRAPH, HSM, MONITOR, Examined
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
            directory=DirectoryReader(graph, arm),
            entities=entities,
            queue=queue,
            sink=alert_sink(settings, reads),
        )
    finally:
        for each in reversed(opened):
            await each.close()


def storage(
    settings: Settings, environment: Mapping[str, str], clock: Clock, reads: Reading
) -> tuple[ClosableEntities, ClosableQueue]:
    """The state store and the recheck queue that `KEYDRIFT_STATE` names."""
    from keydrift.adapters.sqlite_entities import SqliteEntities
    from keydrift.adapters.sqlite_queue import SqliteQueue
    from keydrift.adapters.storage_queue import StorageQueue
    from keydrift.adapters.table_entities import TableEntities

    kind, _, rest = settings.state.partition(":")
    if kind == "sqlite":
        path = Path(rest)
        path.parent.mkdir(parents=True, exist_ok=True)
        return SqliteEntities(path), SqliteQueue(path, settings.recheck_queue, clock)
    if kind == "https":
        queues = settings.state.replace(".table.", ".queue.", 1)
        return (
            TableEntities(settings.state, reads.credential, settings.table, reads.transport),
            StorageQueue(queues, reads.credential, settings.recheck_queue, reads.transport),
        )
    connection = environment.get("AzureWebJobsStorage", "")
    if not connection:
        raise ConfigError("`KEYDRIFT_STATE` is `AzureWebJobsStorage`, and `AzureWebJobsStorage` holds no connection string")
    return (
        TableEntities.from_connection_string(connection, settings.table),
        StorageQueue.from_connection_string(connection, settings.recheck_queue),
    )


_composed: Application | None = None


def monitor() -> Monitor:
    """The process's monitor, composed from the environment at the first trigger. Raises ConfigError."""
    global _composed  # noqa: PLW0603  # one monitor a process: the Functions host keeps no object between invocations
    if _composed is None:
        show_extras()
        _composed = compose(Settings.from_environment(os.environ), os.environ, SystemClock())
    return _composed.monitor


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
