"""Processes that are killed at any moment, on the real host and the real stores: nothing is lost, and nothing wrong is told."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from keydrift.adapters.table_entities import TableEntities
from keydrift.ports import EntityStore
from keydrift_local.host_queue import StorageHostQueue
from kill.load import Storage
from kill.run import Plan, on_sqlite, survive

KILLS = 3


@asynccontextmanager
async def on_azurite(connection: str) -> AsyncIterator[tuple[Storage, EntityStore]]:
    """State in a storage account, in tables and queues of its own."""
    name = f"kill{uuid.uuid4().hex[:12]}"
    settings = {
        "KEYDRIFT_STATE": "AzureWebJobsStorage",
        "AzureWebJobsStorage": connection,
        "KEYDRIFT_TABLE": name,
        "KEYDRIFT_RECHECK_QUEUE": f"{name}-recheck",
        "KEYDRIFT_EVENTS_QUEUE": f"{name}-events",
    }
    entities = TableEntities.from_connection_string(connection, name)
    queue = StorageHostQueue.from_connection_string(connection, f"{name}-events")
    try:
        yield Storage(settings=settings, events=queue), entities
    finally:
        await entities.close()
        await queue.close()


@pytest.mark.parametrize("hosts", [1, 2])
async def test_killed_on_sqlite(hosts: int, tmp_path: Path) -> None:
    """One process after another, or two at once, on one state file: what reached Log Analytics is true, ordered and complete."""
    async with on_sqlite(tmp_path) as (storage, entities):
        wrong, counts = await survive(Plan(kills=KILLS, hosts=hosts, seed=hosts), storage, entities, tmp_path)
    assert wrong == []
    assert (counts["kill"] >= KILLS, counts["calm"]) == (True, 1)
    assert counts["alerts"] > 0


async def test_killed_on_a_storage_account(azurite: str, tmp_path: Path) -> None:
    """Two processes on Azure's tables and queues, as Azurite has them, keep the same promises."""
    async with on_azurite(azurite) as (storage, entities):
        wrong, counts = await survive(Plan(kills=KILLS, hosts=2, seed=3), storage, entities, tmp_path)
    assert wrong == []
    assert (counts["kill"] >= KILLS, counts["calm"]) == (True, 1)
    assert counts["alerts"] > 0
