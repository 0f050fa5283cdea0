"""The floor: what any product built like this has to wait for, measured by itself in the same process.

One queue hop (the host's polling included), two rounds of reads one after the other, one upload. No product code of the straight
path takes part: only the queue, the pump, the credential and the transport that it uses.
"""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from azure.monitor.ingestion.aio import LogsIngestionClient

from keydrift.adapters.http import JsonReader
from keydrift.adapters.key_vault import API_VERSION
from keydrift.adapters.sqlite_queue import SqliteQueue
from keydrift.adapters.wire import Node
from keydrift.facts import Absent, Unread
from keydrift.reading import reading
from keydrift.settings import Settings
from keydrift.tables import ALERT_COLUMNS
from keydrift_local.documents import JsonObject
from keydrift_local.host_files import read_host_json
from keydrift_local.host_queue import QueuePump, QueueSettings
from keydrift_local.laptop import APP, Laptop
from keydrift_local.worker import Outcome

TABLE = "KeyDriftFloor_CL"
_DONE = Outcome(succeeded=True, error=None, body=None, status=None, headers={})


@dataclass(frozen=True, slots=True, kw_only=True)
class FloorSample:
    """Seconds. `queue_wait` is that part of `hop` in which the message lay in the queue."""

    hop: float
    queue_wait: float
    reads: float
    upload: float

    @property
    def total(self) -> float:
        """The whole floor."""
        return self.hop + self.reads + self.upload


class _NoWork:
    """A worker that notes when it is called, and has nothing to do."""

    def __init__(self) -> None:
        self.called: asyncio.Queue[float] = asyncio.Queue()

    async def message(self, function: str, body: str, *, id: str, dequeue_count: int, inserted_at: datetime) -> Outcome:  # noqa: A002, ARG002  # the protocol's
        """Note the time."""
        self.called.put_nowait(time.perf_counter())
        return _DONE


class Floor:
    """Measures the floor beside a running function app. Use as an async context manager."""

    def __init__(self, laptop: Laptop, folder: Path, url: str) -> None:
        self._laptop, self._url = laptop, f"{url}?api-version={API_VERSION}"
        self._worker = _NoWork()
        self._queue = SqliteQueue(folder / "floor.db", "floor", laptop.clock)
        settings = QueueSettings.from_host_json(read_host_json(APP))
        self._pump = QueuePump(worker=self._worker, function="floor", queue=self._queue, poison=None, settings=settings)
        self._accepted: asyncio.Queue[float] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        settings = Settings.from_environment(os.environ)
        assert settings.dcr_endpoint is not None
        assert settings.dcr_rule_id is not None
        self._rule_id = settings.dcr_rule_id
        self._reading = reading(settings, self._laptop.clock)
        cloud, credential, transport = self._reading.cloud, self._reading.credential, self._reading.transport
        manager = f"https://{cloud.resource_manager}"
        self._arm = JsonReader(manager, manager, credential, transport, "nothing")
        scopes = [f"{cloud.monitor_audience}//.default"]
        self._ingestion = LogsIngestionClient(settings.dcr_endpoint, credential, credential_scopes=scopes, transport=transport)
        self._laptop.azure.logs.declare(TABLE, ALERT_COLUMNS)
        self._pumping = asyncio.create_task(self._pump.run())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pumping.cancel()
        with suppress(asyncio.CancelledError):
            await self._pumping
        await self._queue.close()
        await self._reading.close()

    def accepted(self, at: float) -> None:
        """To be called, on the event loop, when a row of `TABLE` is accepted."""
        self._accepted.put_nowait(at)

    async def sample(self, row: JsonObject) -> FloorSample:
        """Measure each part once; `row` is what is uploaded."""
        started = time.perf_counter()
        await self._queue.put("floor")
        put = time.perf_counter()
        called = await self._worker.called.get()
        reading = time.perf_counter()
        for _ in range(2):
            document = await self._arm.get(self._url, _itself, source="floor")
            assert not isinstance(document, Absent | Unread), document
        uploading = time.perf_counter()
        await self._ingestion.upload(self._rule_id, f"Custom-{TABLE}", [dict(row)])
        stored = await self._accepted.get()
        return FloorSample(
            hop=called - started,
            queue_wait=max(called - put, 0.0),
            reads=uploading - reading,
            upload=stored - uploading,
        )


def _itself(node: Node) -> Node:
    return node
