"""The whole monitor in simulated worlds: whatever fails, crashes, lags or is lost, what it tells is true and nothing is
forgotten."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from keydrift.access.permission import _other_model
from keydrift.access.rbac import object_id, weigh
from keydrift.adapters import http
from keydrift.alerts.row import alert_row
from keydrift.discovery import Discovery
from keydrift.facts import Absent, StoreFacts, Unread
from keydrift.model import StoreObject
from keydrift.outbox import OutboxName
from keydrift.reconcile import Reconciler
from keydrift.resource_id import ResourceId
from keydrift.watchlist_change import WatchlistChange
from simulation.history import history_of
from simulation.invariants import violations
from simulation.run import checked, document, from_file, lived, play, shortest

type Bug = Callable[[], AbstractContextManager[None]]

SEEDS = 240
PLANTED = 1000


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("first", range(0, SEEDS, 20))
def test_histories(first: int) -> None:
    """Whatever a seed draws, every promise holds; a seed that fails is told, to be cut down by `make simulate`."""
    found = {seed: wrong for seed in range(first, first + 20) if (wrong := checked(history_of(seed)))}
    assert found == {}


async def test_a_history_is_played_the_same_again() -> None:
    """A seed decides everything: the same history makes the same world twice."""
    first, second = [await play(history_of(7)) for _ in range(2)]
    assert first == second


# --- planted bugs --------------------------------------------------------------------------------------------------------


@contextmanager
def delivered_before_recorded() -> Iterator[None]:
    """An alert is sent before it is recorded."""
    keep = Reconciler._keep

    async def send_first(self: Reconciler, store: Any, all_judged: Any, *more: Any) -> Any:
        for judged in all_judged:
            if judged.alerts:
                await self._deliverer._sinks[OutboxName.LOG_ANALYTICS].send([alert_row(each, None) for each in judged.alerts])
        return await keep(self, store, all_judged, *more)

    with patch.object(Reconciler, "_keep", send_first):
        yield


@contextmanager
def swallowed_refusal() -> Iterator[None]:
    """A read that was refused is taken for an answer: there is nothing."""
    failed = http._failed

    def swallowed(error: Any, source: str, repair: str) -> Absent | Unread:
        found = failed(error, source, repair)
        return Absent(what=source) if isinstance(found, Unread) and found.status == 403 else found

    with patch("keydrift.adapters.http._failed", swallowed):
        yield


@contextmanager
def substring_scopes() -> Iterator[None]:
    """A scope covers whatever its text is the beginning of: a grant on key `k1` covers `k10`."""

    def begins(scope: ResourceId, target: StoreObject) -> bool:
        resource = object_id(target)
        return scope.is_management_group or (resource is not None and resource.key.startswith(scope.key))

    with patch("keydrift.access.rbac.reaches", begins):
        yield


@contextmanager
def always_at_rest() -> Iterator[None]:
    """A key store that was at rest is taken for one that still is, whatever was read of it."""
    same = patch("keydrift.rest.digest_of", lambda _verdicts: "the same")
    with same, patch("keydrift.reconcile.digest_of", lambda _verdicts: "the same"):
        yield


@pytest.mark.parametrize("bug", [delivered_before_recorded, swallowed_refusal, substring_scopes, always_at_rest])
async def test_a_planted_bug_is_caught(bug: Bug) -> None:
    """A planted bug breaks a promise within a thousand histories; the same history without it keeps them all."""
    seed = await first_caught(bug)
    assert (await play(history_of(seed)))[0] == []


async def first_caught(bug: Bug) -> int:
    """The first seed whose history, lived with the bug and judged without it, breaks a promise."""
    for seed in range(PLANTED):
        with bug():
            world = await lived(history_of(seed))
        if await violations(world):
            return seed
    raise AssertionError("the bug was not caught")


@contextmanager
def unseen_is_ended() -> Iterator[None]:
    """What a lost verdict could not read is left out of its row, as if it had ended."""
    with patch("keydrift.alerts.blind_spot.shown", lambda _standing, verdict: verdict):
        yield


@contextmanager
def unlisted_is_none() -> Iterator[None]:
    """Role assignments that were not listed are taken for none."""

    def none_listed(facts: StoreFacts, principal_id: str, *others: Any, **more: Any) -> Any:
        listed = facts.assignments.get(principal_id)
        facts = replace(facts, assignments={principal_id: ()}) if isinstance(listed, Unread) else facts
        return weigh(facts, principal_id, *others, **more)

    with patch("keydrift.access.rbac.weigh", none_listed):
        yield


@contextmanager
def switched_whatever_the_other_model() -> Iterator[None]:
    """A vault that does not grant is said to have been switched, whether the other model would grant or not."""

    def would_grant(case: Any, everything: Any) -> Any:
        return _other_model(case, everything) or replace(case.weighed, doubts=())

    with patch("keydrift.access.permission._other_model", would_grant):
        yield


@contextmanager
def consumers_listed_once() -> Iterator[None]:
    """The inventory is taken once, and never again."""

    async def once(self: Discovery) -> WatchlistChange:
        return await take(self) if await self._state.mark("inventory") is None else WatchlistChange()

    take = Discovery.take
    with patch.object(Discovery, "take", once):
        yield


@pytest.mark.parametrize(
    ("bug", "seed"),
    [(unseen_is_ended, 5075), (unlisted_is_none, 21), (switched_whatever_the_other_model, 21), (consumers_listed_once, 17)],
)
async def test_what_the_judge_excuses_is_no_excuse(bug: Bug, seed: int) -> None:
    """Facts of two ages, and causes that could not be read, excuse no finding that comes of neither."""
    with bug():
        world = await lived(history_of(seed))
    assert await violations(world) != []
    assert (await play(history_of(seed)))[0] == []


# --- failing histories ---------------------------------------------------------------------------------------------------


def test_a_failing_history_is_cut_down_and_kept(tmp_path: Path) -> None:
    """A failing history loses every step that it fails without, and is read back from the file that it was kept in."""
    path = tmp_path / "history.json"
    with a_finding_too_many():
        failing = next(history for seed in range(PLANTED) if checked(history := history_of(seed)))
        short = shortest(failing)
        path.write_text(json.dumps(document(short)))
        assert checked(from_file(path)) == checked(short) != []
        needed = [
            checked(replace(short, steps=short.steps[:number] + short.steps[number + 1 :])) for number in range(len(short.steps))
        ]
    assert needed == [[]] * len(short.steps)
    assert len(short.steps) < len(failing.steps)
    assert checked(from_file(path)) == []


@contextmanager
def a_finding_too_many() -> Iterator[None]:
    """Every alert that opens has a finding that was never true."""

    def with_another(alert: Any, tenant_id: str | None) -> dict[str, object]:
        row = alert_row(alert, tenant_id)
        return {**row, "FindingCodes": [*row["FindingCodes"], "key-expired"]} if row["Kind"] == "opened" else row  # type: ignore[misc]

    with patch("keydrift.reconcile.alert_row", with_another):
        yield
