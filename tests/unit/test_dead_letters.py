"""Events that were given up: each is recorded with the reason, taken, and only then removed from where it lay."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from keydrift.dead_letters import MOST_BLOBS, DeadLetters
from keydrift.ports import DeadLetterBlob, StateError
from keydrift.state import DEAD_LETTERS_KEPT, State
from support.builders import NOW
from support.entities import MemoryEntities
from support.queues_memory import ManualClock

GIVEN_UP = NOW - timedelta(minutes=7)
LETTER: dict[str, Any] = {
    "id": "e1",
    "eventType": "Microsoft.KeyVault.VaultAccessPolicyChanged",
    "deadLetterReason": "MaxDeliveryAttemptsExceeded",
    "deliveryAttempts": 30,
    "lastDeliveryOutcome": "NotFound",
    "publishTime": (GIVEN_UP - timedelta(hours=24)).isoformat(),
    "lastDeliveryAttemptTime": GIVEN_UP.isoformat(),
}
CLOUD_EVENT = {"specversion": "1.0", **{name.lower(): value for name, value in LETTER.items()}}


class Container:
    """Blobs in memory; `changed` are written anew between being read and being deleted."""

    def __init__(self, **blobs: str) -> None:
        self.blobs = blobs

    async def names(self, limit: int) -> Sequence[str]:
        return sorted(self.blobs)[:limit]

    async def read(self, name: str) -> DeadLetterBlob | None:
        found = self.blobs.get(name)
        return None if found is None else DeadLetterBlob(name=name, content=found.encode(), etag=found)

    async def delete(self, blob: DeadLetterBlob) -> None:
        if self.blobs.get(blob.name) == blob.etag:
            del self.blobs[blob.name]


class Setup:
    def __init__(self, **blobs: str) -> None:
        self.container = Container(**blobs)
        self.state, self.clock = State(MemoryEntities()), ManualClock(NOW)
        self.received: list[str] = []
        self.refused: set[str] = set()
        self.letters = DeadLetters(state=self.state, container=self.container, receive=self._receive, clock=self.clock)

    async def _receive(self, payload: str) -> None:
        if any(each in payload for each in self.refused):
            raise StateError("the queue is down", transient=True)
        self.received.append(payload)

    async def kept(self) -> list[tuple[object, object]]:
        return [(each["at"], each["error"]) for each in await self.state.dead_letters()]


@pytest.mark.parametrize("letter", [LETTER, CLOUD_EVENT], ids=["Event Grid schema", "CloudEvents"])
async def test_a_dead_letter_is_recorded_taken_and_removed(letter: dict[str, Any]) -> None:
    """Each event of a blob goes the straight way as it came and is kept with the reason and the time it was given up."""
    setup = Setup(b1=json.dumps([letter, {**letter, "id": "e2"}]))
    assert await setup.letters.take_back() == 2
    assert [json.loads(each)["id"] for each in setup.received] == ["e1", "e2"]
    assert json.loads(setup.received[0]) == letter
    why = "Event Grid could not deliver it: MaxDeliveryAttemptsExceeded after 30 attempts, last answer NotFound"
    assert await setup.kept() == [(GIVEN_UP.isoformat(), why)] * 2
    assert setup.container.blobs == {}


async def test_a_crash_in_between_repeats_and_loses_nothing() -> None:
    """A blob whose second event cannot be taken stays whole; the next run takes both, and each is one dead letter."""
    setup = Setup(b1=json.dumps([LETTER, {**LETTER, "id": "e2"}]))
    setup.refused = {'"e2"'}
    with pytest.raises(StateError):
        await setup.letters.take_back()
    assert list(setup.container.blobs) == ["b1"]
    setup.refused = set()
    setup.clock.advance(600)
    assert await setup.letters.take_back() == 2
    assert [json.loads(each)["id"] for each in setup.received] == ["e1", "e1", "e2"]
    assert len(await setup.kept()) == 2
    assert setup.container.blobs == {}


async def test_a_blob_that_fails_keeps_no_other_back() -> None:
    """What cannot be taken stays for the next run, and the other blobs are taken all the same."""
    setup = Setup(a=json.dumps([LETTER]), b=json.dumps([{**LETTER, "id": "e2"}]), c=json.dumps([{**LETTER, "id": "e3"}]))
    setup.refused = {'"e1"'}
    with pytest.raises(StateError):
        await setup.letters.take_back()
    assert list(setup.container.blobs) == ["a"]
    assert len(setup.received) == 2


async def test_a_blob_written_meanwhile_stays() -> None:
    """A blob that Event Grid writes anew while it is being taken is there for the next run."""
    setup = Setup(b1=json.dumps([LETTER]))
    original = setup._receive

    async def receive(payload: str) -> None:
        setup.container.blobs["b1"] = json.dumps([LETTER, {**LETTER, "id": "e2"}])
        await original(payload)

    letters = DeadLetters(state=setup.state, container=setup.container, receive=receive, clock=setup.clock)
    await letters.take_back()
    assert list(setup.container.blobs) == ["b1"]


@pytest.mark.parametrize("content", ["no json", "", '"text"', "12", "[12, null]", "{}", "[{}]"])
async def test_noise_is_handed_on_and_removed(content: str) -> None:
    """Whatever a blob holds is handed to the straight path, which keeps what it cannot decode, and the blob is removed."""
    setup = Setup(b1=content)
    await setup.letters.take_back()
    assert setup.container.blobs == {}
    assert len(setup.received) == (2 if content == "[12, null]" else 1)


@pytest.mark.parametrize(
    ("told", "at"),
    [
        ({}, GIVEN_UP),
        ({"lastDeliveryAttemptTime": None}, GIVEN_UP - timedelta(hours=24)),
        ({"lastDeliveryAttemptTime": "yesterday", "publishTime": None}, NOW),
        ({"lastDeliveryAttemptTime": "1999-01-01T00:00:00Z"}, NOW),
        ({"lastDeliveryAttemptTime": "2999-01-01T00:00:00Z"}, NOW),
    ],
)
async def test_when_it_was_given_up(told: dict[str, object], at: datetime) -> None:
    """The time is that of the last attempt, else of publication; one that is absent, or far off, is the present."""
    setup = Setup(b1=json.dumps([{**LETTER, **told}]))
    await setup.letters.take_back()
    assert [when for when, _ in await setup.kept()] == [at.isoformat()]


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"deadLetterReason": None}, "no reason given after 30 attempts, last answer NotFound"),
        ({"deliveryAttempts": True, "lastDeliveryOutcome": ""}, "MaxDeliveryAttemptsExceeded"),
        ({"deliveryAttempts": "many"}, "MaxDeliveryAttemptsExceeded, last answer NotFound"),
    ],
)
async def test_a_reason_that_is_cut_short_is_told_as_far_as_it_goes(told: dict[str, object], reason: str) -> None:
    """Members that are absent or of another kind are left out of the reason."""
    setup = Setup(b1=json.dumps([{**LETTER, **told}]))
    await setup.letters.take_back()
    assert [why for _, why in await setup.kept()] == [f"Event Grid could not deliver it: {reason}"]


async def test_a_run_takes_a_bounded_number() -> None:
    """More blobs than one run takes are left to the next, in their order."""
    setup = Setup(**{f"b{number:04}": json.dumps([{**LETTER, "id": f"e{number}"}]) for number in range(MOST_BLOBS + 1)})
    assert await setup.letters.take_back() == MOST_BLOBS
    assert list(setup.container.blobs) == [f"b{MOST_BLOBS:04}"]


async def test_a_poisoned_event_is_recorded_and_tried_once_more() -> None:
    """An event that failed five times in the queue is a dead letter before it is tried again, so that it is known if it fails."""
    setup = Setup()
    setup.refused = {"e1"}
    with pytest.raises(StateError):
        await setup.letters.poisoned(json.dumps(LETTER))
    assert [why for _, why in await setup.kept()] == ["five deliveries from the queue failed"]
    setup.refused = set()
    await setup.letters.poisoned(json.dumps(LETTER))
    assert setup.received == [json.dumps(LETTER)]


async def test_dead_letters_are_forgotten_after_thirty_days() -> None:
    """Dead letters can be counted from a time on, and go after 30 days, once a day, not a moment before."""
    setup = Setup()
    for days in (0, 1, 29, 30, 31, 400):
        at = NOW - timedelta(days=days)
        await setup.state.dead_letter(at, f"e{days}", {"at": at.isoformat(), "error": "x"})
    assert await setup.state.dead_letters_since(NOW - timedelta(days=1)) == 2
    await setup.letters.take_back()
    assert [at for at, _ in await setup.kept()] == [(NOW - timedelta(days=n)).isoformat() for n in (30, 29, 1, 0)]
    setup.clock.advance(timedelta(hours=23).total_seconds())
    await setup.letters.take_back()
    assert len(await setup.kept()) == 4
    setup.clock.advance(timedelta(hours=2).total_seconds())
    await setup.letters.take_back()
    assert len(await setup.kept()) == 2
    assert timedelta(days=30) == DEAD_LETTERS_KEPT
