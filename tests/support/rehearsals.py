"""Rehearsals written in Python, for tests that look at more than the alerts."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from keydrift.adapters.sqlite_entities import SqliteEntities
from keydrift.state import State
from keydrift_local.local_azure import LocalAzure
from keydrift_local.rehearsal import Rehearsal, rehearsing, worker
from keydrift_local.scenario_file import ScenarioFile, load_scenario

type Document = dict[str, Any]

SWEEP: Document = {"sweep": True}


def advance(by: str) -> Document:
    return {"advance": by}


class Played:
    """A rehearsal that takes steps as a scenario file spells them."""

    def __init__(self, rehearsal: Rehearsal, folder: Path) -> None:
        self.rehearsal = rehearsal
        self._folder = folder

    @property
    def azure(self) -> LocalAzure:
        return self.rehearsal.azure

    @property
    def alerts(self) -> list[Document]:
        return self.rehearsal.alerts

    async def play(self, *steps: Mapping[str, object]) -> None:
        scenario = _load(self._folder, {"tenantId": "any"}, steps, {})
        for step in scenario.steps:
            await self.rehearsal.play(step)

    def asked(self) -> list[str]:
        """What was asked of Azure since `forget`, tokens and deliveries of alerts apart."""
        return [
            f"{each.method} {each.path}"
            for each in self.azure.requests
            if each.host not in ("127.0.0.1", "localhost") and "ingest" not in each.host
        ]

    def forget(self) -> None:
        self.azure.clear_requests()

    @asynccontextmanager
    async def state(self) -> AsyncIterator[State]:
        """The product's state store, through a connection of the test's own."""
        entities = SqliteEntities(os.environ["KEYDRIFT_STATE"].removeprefix("sqlite:"))
        try:
            yield State(entities)
        finally:
            await entities.close()


@asynccontextmanager
async def rehearsal(folder: Path, tenant: Document, *steps: Mapping[str, object], **settings: str) -> AsyncIterator[Played]:
    """A rehearsal of a tenant in which the first steps are played."""
    async with rehearsing(_load(folder, tenant, (), settings), await worker()) as playing:
        played = Played(playing, folder)
        await played.play(*steps)
        yield played


def _load(folder: Path, tenant: Document, steps: Sequence[Mapping[str, object]], settings: Mapping[str, str]) -> ScenarioFile:
    path = folder / "scenario.json"
    path.write_text(json.dumps({"tenant": tenant, "settings": dict(settings), "steps": list(steps)}))
    return load_scenario(path)
