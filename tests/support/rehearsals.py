"""Rehearsals written in Python, for tests that look at more than the alerts."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from copy import deepcopy
from datetime import datetime
from pathlib import Path
from typing import Any

from keydrift.adapters.sqlite_entities import SqliteEntities
from keydrift.settings import PULSE_SCHEDULE
from keydrift.state import State
from keydrift_local.clock import SimulatedClock
from keydrift_local.laptop import environment, identity
from keydrift_local.local_azure import LocalAzure
from keydrift_local.rehearsal import Rehearsal, rehearsing, staged, worker
from keydrift_local.scenario_file import ScenarioFile, load_scenario
from keydrift_local.tenant_file import parse_tenant

type Document = dict[str, Any]

SWEEP: Document = {"sweep": True}
# What the monitor reads to tell how it is itself would be counted with what others cost; tests of that set the schedule
_NO_PULSE = {PULSE_SCHEDULE: "0 0 0 31 12 *"}


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

    async def queued(self, function: str, message: str) -> None:
        """Put a message on a function's queue."""
        await self.rehearsal.put_on_queue(function, message)

    @property
    def dead_letters(self) -> Path:
        """Where Event Grid leaves what it could not deliver."""
        return self.rehearsal.dead_letters

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
    async with rehearsing(_load(folder, tenant, (), {**_NO_PULSE, **settings}), await worker()) as playing:
        played = Played(playing, folder)
        await played.play(*steps)
        yield played


@asynccontextmanager
async def queued_rehearsal(
    folder: Path, tenant: Document, *steps: Mapping[str, object], **settings: str
) -> AsyncIterator[Played]:
    """The same, with events that come through the queue."""
    async with rehearsing(_load(folder, tenant, (), {**_NO_PULSE, **settings}), await worker(), through_queue=True) as playing:
        played = Played(playing, folder)
        await played.play(*steps)
        yield played


class Stage:
    """One Azure for many rehearsals. Those that begin alike begin with the state that the beginning left, played only once."""

    def __init__(self, azure: LocalAzure, folder: Path) -> None:
        self._azure, self._folder = azure, folder
        self._left: dict[str, tuple[Path, datetime]] = {}

    @asynccontextmanager
    async def after(self, beginning: Sequence[Mapping[str, object]], scenario: Document) -> AsyncIterator[Played]:
        """A rehearsal of a scenario file in which the beginning, which changes nothing in the tenant, has been played."""
        key = json.dumps([scenario["tenant"], scenario["settings"], list(beginning)])
        if key not in self._left:
            state, start = self._folder / f"{len(self._left)}.db", datetime.fromisoformat(scenario["tenant"]["now"])
            async with self._playing(scenario, state, start) as played:
                await played.play(*beginning)
                assert played.alerts == []
            # Its last look at the clock is a little after the step's end
            self._left[key] = state, played.rehearsal.now
        state, now = self._left[key]
        copied = self._folder / "now.db"
        shutil.copy(state, copied)
        async with self._playing(scenario, copied, now) as played:
            await played.play(*(step for step in beginning if "fault" in step))
            yield played

    @asynccontextmanager
    async def _playing(self, scenario: Document, state: Path, start: datetime) -> AsyncIterator[Played]:
        tenant, clock = parse_tenant(deepcopy(scenario["tenant"]), "test"), SimulatedClock(start)
        self._azure.load(tenant, clock=clock.now)
        with environment({**self._azure.environment, **identity(tenant)}):
            async with staged(self._azure, clock, await worker(), state, scenario["settings"]) as rehearsal:
                yield Played(rehearsal, self._folder)


def _load(folder: Path, tenant: Document, steps: Sequence[Mapping[str, object]], settings: Mapping[str, str]) -> ScenarioFile:
    path = folder / "scenario.json"
    path.write_text(json.dumps({"tenant": tenant, "settings": dict(settings), "steps": list(steps)}))
    return load_scenario(path)
