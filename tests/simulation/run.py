"""Play many histories, tell what they went through, and cut a failing one down (`make simulate SEEDS=…`)."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

from keydrift_local.local_azure import LocalAzure
from keydrift_local.tenant_file import parse_tenant
from simulation.history import History, history_of, model_of
from simulation.invariants import ALERTS, violations
from simulation.world import World

# Steps that a scenario file does not know; the others can be rehearsed
_OWN_STEPS = ("crash", "lag", "cut", "conflict", "skew")

_azure: LocalAzure | None = None


def azure() -> LocalAzure:
    """The process's tenant server, which never listens."""
    global _azure  # noqa: PLW0603  # its workspace is costly to make
    if _azure is None:
        _azure = LocalAzure(parse_tenant({"tenantId": "any"}, "simulation"))
    return _azure


async def lived(history: History) -> World:
    """The world after a history, come to rest."""
    world = World(history, azure())
    for step in history.steps:
        await world.play(step)
    await world.settle()
    return world


async def play(history: History) -> tuple[list[str], Counter[str]]:
    """Play a history to its end; what is wrong, and what came about."""
    world = await lived(history)
    rows = [row for _, stream, row in world.wire.rows if stream == ALERTS]
    told = Counter(f"alert {row['Kind']}" for row in rows)
    drifts = Counter(f"drift {code}" for row in rows for code in row["FindingCodes"] if row["Kind"] != "resolved")
    return await violations(world), world.counts + world.wire.answered + told + drifts


def checked(history: History) -> list[str]:
    """What is wrong with a history; a defect that raises is wrong too."""
    try:
        return asyncio.run(play(history))[0]
    except Exception as error:  # whatever it is, it is a finding
        return [f"{type(error).__name__}: {error}"]


def shortest(history: History) -> History:
    """The history without every step that it fails without (delta debugging, one step at a time from the end)."""
    for number in reversed(range(len(history.steps))):
        without = replace(history, steps=history.steps[:number] + history.steps[number + 1 :])
        if checked(without):
            history = without
    for step in history.steps:
        if "deliver" in step:
            plain = replace(
                history,
                steps=tuple(
                    {k: v for k, v in each.items() if k != "deliver"} if each is step else each for each in history.steps
                ),
            )
            history = plain if checked(plain) else history
    return history


def document(history: History) -> dict[str, object]:
    """A history as a scenario file. One with steps of the simulation's own is replayed by `make simulate REPLAY=…` only."""
    return {
        "tenant": history.tenant,
        "settings": history.settings,
        "steps": list(history.steps),
        "simulation": {"seed": history.seed, "workers": history.workers},
    }


def from_file(path: Path) -> History:
    """The history that was kept in a file."""
    kept = json.loads(path.read_text(encoding="utf-8"))
    more = kept.get("simulation", {})
    return History(
        seed=more.get("seed", 0),
        tenant=kept["tenant"],
        steps=tuple(kept["steps"]),
        workers=more.get("workers", 1),
        settings=kept.get("settings", {}),
    )


def some(seeds: Iterable[int]) -> tuple[Counter[str], list[tuple[int, list[str]]]]:
    """Play the histories of some seeds, in one process."""
    logging.disable(logging.CRITICAL)
    total: Counter[str] = Counter()
    failed: list[tuple[int, list[str]]] = []
    for seed in seeds:
        history = history_of(seed)
        total[f"tenant {model_of(history.tenant)}"] += 1
        total[f"workers {history.workers}"] += 1
        try:
            wrong, counts = asyncio.run(play(history))
        except Exception as error:  # as in `checked`
            wrong, counts = [f"{type(error).__name__}: {error}"], Counter()
        total += counts
        if wrong:
            failed.append((seed, wrong))
    return total, failed


def main() -> int:
    """Parse the arguments, play, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--replay", type=Path)
    parser.add_argument("--keep", type=Path, default=Path("simulation-failure.json"), help="where a failing history is kept")
    arguments = parser.parse_args()
    if arguments.replay:
        logging.disable(logging.CRITICAL)
        wrong = checked(from_file(arguments.replay))
        print("\n".join(wrong) or "no violation")
        return 1 if wrong else 0
    began = time.monotonic()
    every = range(arguments.first, arguments.first + arguments.seeds)
    parts = [every[start :: arguments.workers * 4] for start in range(arguments.workers * 4)]
    with ProcessPoolExecutor(arguments.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        results = list(pool.map(some, parts))
    took = time.monotonic() - began
    total = sum((each for each, _ in results), Counter[str]())
    failed = sorted(each for _, mine in results for each in mine)
    for name, count in sorted(total.items()):
        print(f"{count:9,}  {name}")
    print(f"{arguments.seeds:,} histories in {took:.0f} s, {arguments.seeds / took:.1f} a second; {len(failed)} with a violation")
    if not failed:
        return 0
    logging.disable(logging.CRITICAL)
    seed, wrong = failed[0]
    print(f"seeds that fail: {[each for each, _ in failed][:20]}\nseed {seed}:", *wrong, sep="\n  ")
    cut = shortest(history_of(seed))
    arguments.keep.write_text(json.dumps(document(cut), indent=2), encoding="utf-8")
    own = [name for step in cut.steps for name in step if name in _OWN_STEPS]
    how = f"make simulate REPLAY={arguments.keep}" if own or cut.workers > 1 else f"keydrift rehearse {arguments.keep}"
    print(f"its shortest history has {len(cut.steps)} steps, kept in {arguments.keep}; replay it with `{how}`:")
    for step in cut.steps:
        print(f"  {json.dumps(step)[:300]}")
    print("  ", *checked(cut), sep="\n  ")
    return 1


if __name__ == "__main__":
    sys.exit(main())
