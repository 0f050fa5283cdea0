"""Settings to adapters to Monitor: the only place that sees both sides. Importing it does no I/O and reads no settings."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
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

    from keydrift.adapters.cloud import Cloud
    from keydrift.adapters.http import ClockTransport
    from keydrift.collect import Collector
    from keydrift.monitor import Monitor
    from keydrift.ports import Consumers
    from keydrift.reconcile import Policy


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What reads Azure: enough for a scan."""

    cloud: Cloud
    credential: AsyncTokenCredential
    transport: ClockTransport
    consumers: Consumers
    collector: Collector
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
    from keydrift.adapters.arm_inventory import ArmInventory  # noqa: PLC0415  # imported where used: import time is cold start
    from keydrift.adapters.authorization import AuthorizationReader  # noqa: PLC0415
    from keydrift.adapters.cloud import cloud_named  # noqa: PLC0415
    from keydrift.adapters.directory import DirectoryReader  # noqa: PLC0415
    from keydrift.adapters.http import ClockTransport, JsonReader  # noqa: PLC0415
    from keydrift.adapters.key_vault import KeyVaultReader  # noqa: PLC0415
    from keydrift.adapters.managed_hsm import ManagedHsmReader  # noqa: PLC0415
    from keydrift.collect import Collector, Readers  # noqa: PLC0415
    from keydrift.reconcile import Policy  # noqa: PLC0415

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
    readers = Readers(
        key_stores=KeyVaultReader(cloud, identity, transport),
        grants=AuthorizationReader(arm),
        managed_hsms=ManagedHsmReader(cloud, identity, transport),
        directory=DirectoryReader(graph, arm),
    )
    policy = Policy(backup_app_id=app_id, key_expiry=settings.key_expiry_horizon, tenant_id=settings.tenant_id, declared=declared)
    return Reading(
        cloud=cloud,
        credential=identity,
        transport=transport,
        consumers=ArmInventory(arm),
        collector=Collector(readers, clock),
        policy=policy,
    )


def credential(settings: Settings, cloud: Cloud) -> AsyncTokenCredential:
    """The managed identity where the platform offers one, else whoever is signed in on this machine."""
    from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential  # noqa: PLC0415

    if "IDENTITY_ENDPOINT" in os.environ:
        return ManagedIdentityCredential(client_id=settings.identity_client_id)
    return DefaultAzureCredential(authority=cloud.authority)


def compose(settings: Settings, environment: Mapping[str, str], clock: Clock) -> Application:
    """Compose the monitor. Needs a running event loop. Raises ConfigError."""
    from keydrift.adapters.log_analytics import LogAnalyticsSink, UnconfiguredSink  # noqa: PLC0415
    from keydrift.monitor import Monitor  # noqa: PLC0415
    from keydrift.reconcile import Reconciler  # noqa: PLC0415
    from keydrift.state import State  # noqa: PLC0415

    reads = reading(settings, clock)
    entities, queue = storage(settings, environment, clock, reads)
    sink: AlertSink = UnconfiguredSink()
    if settings.dcr_endpoint and settings.dcr_rule_id:
        sink = LogAnalyticsSink(
            cloud=reads.cloud,
            endpoint=settings.dcr_endpoint,
            rule_id=settings.dcr_rule_id,
            stream=settings.alert_stream,
            credential=reads.credential,
            transport=reads.transport,
        )
    state = State(entities)
    reconciler = Reconciler(memory=state, queue=queue, collector=reads.collector, sink=sink, clock=clock, policy=reads.policy)
    monitor = Monitor(
        state=state,
        queue=queue,
        reconciler=reconciler,
        consumers=reads.consumers,
        clock=clock,
        backup_app_id=reads.policy.backup_app_id,
        subscriptions=settings.subscriptions,
    )
    return Application(monitor=monitor, reading=reads, opened=(entities, queue))


def storage(
    settings: Settings, environment: Mapping[str, str], clock: Clock, reads: Reading
) -> tuple[ClosableEntities, ClosableQueue]:
    """The state store and the recheck queue that `KEYDRIFT_STATE` names."""
    from keydrift.adapters.sqlite_entities import SqliteEntities  # noqa: PLC0415
    from keydrift.adapters.sqlite_queue import SqliteQueue  # noqa: PLC0415
    from keydrift.adapters.storage_queue import StorageQueue  # noqa: PLC0415
    from keydrift.adapters.table_entities import TableEntities  # noqa: PLC0415

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
