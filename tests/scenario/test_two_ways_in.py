"""Two ways in, one handler: an event through the queue gives what one to the function gives, and none is lost."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from keydrift.adapters import sqlite_entities
from keydrift.model import PermissionModel, Scenario
from keydrift.ports import StateError
from keydrift_local.event_delivery import leave_dead_letter
from keydrift_local.rehearsal import rehearse, worker
from keydrift_local.scenario_file import load_scenario
from support import tenants
from support.events import CLAIMS, OBJECT_ID_CLAIM, resource_event
from support.rehearsals import SWEEP, Document, Played, advance, queued_rehearsal, rehearsal

CASES = [
    path
    for path in sorted((Path(__file__).parent / "cases").glob("*.json"))
    if path.stem.startswith(("actor.", "event", "story.rsv-cmk", "log-analytics."))
]
ASSIGNMENT = f"{tenants.vault_id()}/providers/Microsoft.Authorization/roleAssignments/{tenants.guid(3)}"
EVENT = resource_event("Microsoft.Authorization/roleAssignments/delete", ASSIGNMENT, "DeleteSuccess")
# The deletion, of which no event comes by itself
LOSE: Document = {"change": {"delete": ASSIGNMENT}, "silent": True}


def _tenant() -> dict[str, Any]:
    return tenants.healthy(Scenario.BACKUP_VAULT_CMK, PermissionModel.RBAC)


async def _letters(played: Played) -> list[str]:
    async with played.state() as state:
        return [str(each["error"]) for each in await state.dead_letters()]


@pytest.mark.parametrize("path", CASES, ids=[path.stem for path in CASES])
async def test_the_queue_gives_the_same_alerts(path: Path) -> None:
    """A scenario whose events come through the queue delivers the very rows that it delivers otherwise."""
    straight = await rehearse(load_scenario(path))
    assert await rehearse(load_scenario(path), through_queue=True) == straight


async def test_an_event_in_base64_twice_is_an_event(tmp_path: Path) -> None:
    """Should a message arrive with its base64 still on, it is the same event."""
    body = base64.b64encode(json.dumps(EVENT).encode()).decode()
    async with queued_rehearsal(tmp_path, _tenant(), SWEEP, LOSE) as played:
        await played.queued("receive_queued", body)
        (row,) = played.alerts
        assert (row["Kind"], row["EventId"]) == ("opened", EVENT["id"])
        assert await _letters(played) == []


async def test_what_is_too_large_for_the_queue_comes_back_as_a_dead_letter(tmp_path: Path) -> None:
    """An event that no queue message holds is dead-lettered by Event Grid, taken back, and alerted with its actor."""
    large = {**EVENT, "padding": "x" * 60_000}
    async with queued_rehearsal(tmp_path, _tenant(), SWEEP, LOSE, {"event": large}) as played:
        assert played.alerts == []
        await played.play(advance("PT10M"))
        (row,) = played.alerts
        assert (row["Kind"], row["EventId"], row["ActorObjectId"]) == ("opened", EVENT["id"], CLAIMS[OBJECT_ID_CLAIM])
        (why,) = await _letters(played)
        assert why.startswith("Event Grid could not deliver it: MaxDeliveryAttemptsExceeded")


async def test_a_dead_letter_becomes_a_recheck_and_is_removed(tmp_path: Path) -> None:
    """What lies in the dead-letter container is taken within ten minutes: rechecked, recorded with the reason, removed."""
    async with rehearsal(tmp_path, _tenant(), SWEEP, LOSE) as played:
        now = played.rehearsal.now
        blob = leave_dead_letter(played.dead_letters, EVENT, 30, now)
        await played.play(advance("PT30S"))
        assert blob.exists()
        await played.play(advance("PT1M"))
        assert [(row["Kind"], row["DetectedVia"]) for row in played.alerts] == [("opened", "event")]
        assert await _letters(played) == [
            "Event Grid could not deliver it: MaxDeliveryAttemptsExceeded after 30 attempts, last answer GenericError"
        ]
        assert not blob.exists()


@pytest.mark.parametrize("through_queue", [False, True], ids=["function", "queue"])
async def test_an_event_that_fails_for_a_day_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, through_queue: bool
) -> None:
    """While the state store is down every delivery fails; once it is back the event is alerted, whichever way it came."""
    down = True
    get = sqlite_entities.SqliteEntities.get

    async def refuse(self: sqlite_entities.SqliteEntities, partition: str, row: str) -> object:
        if down and partition == "marks" and row == "watchlist":
            raise StateError("the table is down", transient=True)
        return await get(self, partition, row)

    way_in = queued_rehearsal if through_queue else rehearsal
    async with way_in(tmp_path, _tenant(), SWEEP, KEYDRIFT_SWEEP_SCHEDULE="0 0 0 1 1 *") as played:
        monkeypatch.setattr(sqlite_entities.SqliteEntities, "get", refuse)
        await played.play(LOSE, {"event": EVENT}, advance("PT30H"))
        assert played.alerts == []
        down = False
        await played.play(advance("PT25M"))
        if through_queue:
            # The host gives up on a poison message too: what is left of the event is its dead letter, and the sweep
            assert "five deliveries from the queue failed" in await _letters(played)
            await played.play(SWEEP)
        else:
            assert [why.partition(":")[0] for why in await _letters(played)] == ["Event Grid could not deliver it"]
        assert [row["Kind"] for row in played.alerts] == ["opened"]


async def test_the_triggers_are_there() -> None:
    """The worker knows the queue function and its poison function, each on its queue."""
    queues = {each.function: each.queue for each in (await worker()).triggers if each.queue}
    assert queues == {
        "receive_queued": "keydrift-events",
        "receive_poison": "keydrift-events-poison",
        "recheck": "keydrift-recheck",
        "recheck_poison": "keydrift-recheck-poison",
    }
