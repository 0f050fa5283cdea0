"""A simulated tenant for this process: the servers started, the environment set, and all of it undone at the end."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from keydrift import bootstrap
from keydrift.adapters.sqlite_queue import SqliteQueue
from keydrift.bootstrap import SystemClock
from keydrift.settings import (
    DEFAULT_DELIVER_SCHEDULE,
    DEFAULT_EVENTS_QUEUE,
    DEFAULT_PULSE_SCHEDULE,
    DEFAULT_QUEUE,
    DEFAULT_SWEEP_SCHEDULE,
    DELIVER_SCHEDULE,
    PULSE_SCHEDULE,
    SWEEP_SCHEDULE,
)
from keydrift_local.clock import SimulatedClock
from keydrift_local.devhost import DevHost
from keydrift_local.host_queue import HostQueue, StorageHostQueue
from keydrift_local.local_azure import LocalAzure

if TYPE_CHECKING:
    from keydrift.ports import Clock
    from keydrift_local.tenant import Tenant

APP = Path(__file__).resolve().parents[2]
# What the function host itself reads; in Azure the template sets them
HOST_SETTINGS = {
    "KEYDRIFT_RECHECK_QUEUE": DEFAULT_QUEUE,
    "KEYDRIFT_EVENTS_QUEUE": DEFAULT_EVENTS_QUEUE,
    SWEEP_SCHEDULE: DEFAULT_SWEEP_SCHEDULE,
    DELIVER_SCHEDULE: DEFAULT_DELIVER_SCHEDULE,
    PULSE_SCHEDULE: DEFAULT_PULSE_SCHEDULE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Laptop:
    """What stands in for Azure, and the clock that everything on it goes by."""

    azure: LocalAzure
    clock: Clock


@contextmanager
def serving(tenant: Tenant, *, clock: Clock | None = None, latency_s: float = 0.0) -> Iterator[Laptop]:
    """Serve a tenant to this process's Azure clients.

    Without a clock, a tenant file's `now` makes one that stands still there; a tenant without `now` goes by the machine's.
    """
    chosen: Clock = clock or (SimulatedClock(tenant.now) if tenant.now else SystemClock())

    def now() -> datetime:
        return chosen.now()

    with LocalAzure(tenant, clock=now, latency_s=latency_s) as azure, environment({**azure.environment, **identity(tenant)}):
        yield Laptop(azure=azure, clock=chosen)


def identity(tenant: Tenant) -> dict[str, str]:
    """The settings that name the tenant. A tenant file may call its directory as it likes, the setting is a GUID."""
    try:
        named = {"KEYDRIFT_TENANT_ID": str(UUID(tenant.tenant_id))}
    except ValueError:
        named = {}
    return {"KEYDRIFT_CLOUD": tenant.cloud, **named}


@asynccontextmanager
async def hosting(
    tenant: Tenant, state: Path, *, port: int, settings: Mapping[str, str] | None = None, latency_s: float = 0.0
) -> AsyncIterator[tuple[Laptop, DevHost]]:
    """Run the function app on the dev host, in real time, on a simulated tenant. The state file is kept.

    With the settings `KEYDRIFT_STATE` = `AzureWebJobsStorage` and `AzureWebJobsStorage` = a connection string, state and queues
    are those of that storage account (Azurite's) instead.
    """
    clock = SystemClock()
    with serving(tenant, clock=clock, latency_s=latency_s) as laptop:
        values = {"KEYDRIFT_STATE": f"sqlite:{state}", **HOST_SETTINGS, **(settings or {})}
        with environment(values):
            queues: list[SqliteQueue | StorageHostQueue] = []

            def queue(name: str) -> HostQueue:
                if values["KEYDRIFT_STATE"] == "AzureWebJobsStorage":
                    queues.append(StorageHostQueue.from_connection_string(values["AzureWebJobsStorage"], name))
                else:
                    queues.append(SqliteQueue(state, name, clock))
                return queues[-1]

            host = DevHost(APP, port=port, queues=queue)
            await host.start()
            try:
                yield laptop, host
            finally:
                await host.stop()
                await bootstrap.close()
                for each in queues:
                    await each.close()


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables, and put back what was there."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
