"""Random tenants by the hundred thousand: `python tests/fuzz.py --tenants 200000 --seed 0 --workers 2`.

Prints tenants per second and how often each verdict and finding code was agreed on. On the first disagreement between the product
and the oracle it prints the seed, both answers and the tenant, and exits with 1.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(_ROOT / "src"), str(_ROOT / "tests")]

from keydrift.catalogue import CODES  # noqa: E402  # the script finds both packages by itself
from keydrift.model import State  # noqa: E402
from support.agreement import Disagreement, compare_opinions  # noqa: E402

_BATCH = 1_000


@dataclass(frozen=True, slots=True)
class Agreed:
    """How often each verdict and each code was agreed on."""

    states: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)


def run_batch(seeds: range) -> Agreed | str:
    """What was agreed on these seeds, or all there is to say of the first one in dispute."""
    agreed = Agreed()
    for seed in seeds:
        opinion = compare_opinions(seed)
        if isinstance(opinion, Disagreement):
            return str(opinion)
        agreed.states[opinion.state] += 1
        agreed.codes.update(opinion.codes)
    return agreed


def fuzz(first: int, count: int, workers: int) -> int:
    """Compare `count` tenants from the seed `first` on; returns the exit status."""
    began = time.perf_counter()
    total = Agreed()
    for outcome in _outcomes(first, count, workers):
        if isinstance(outcome, str):
            print(outcome)
            return 1
        total.states.update(outcome.states)
        total.codes.update(outcome.codes)
    seconds = time.perf_counter() - began
    print(f"{count} tenants from seed {first} in {seconds:.1f} s: {count / seconds:.0f} tenants per second, all agreed")
    _table("verdict", {state: total.states[state] for state in State})
    _table("code", {code: total.codes[code] for code in CODES if total.codes[code]})
    print("never seen:", ", ".join(code for code in CODES if not total.codes[code]) or "none")
    return 0


def _outcomes(first: int, count: int, workers: int) -> Iterator[Agreed | str]:
    """Each batch's outcome, seed order kept only as far as the workers do; a few batches at a time are in flight."""
    batches = (range(at, min(at + _BATCH, first + count)) for at in range(first, first + count, _BATCH))
    if workers == 1:
        yield from (run_batch(batch) for batch in batches)
        return
    with ProcessPoolExecutor(workers) as pool:
        running: set[Future[Agreed | str]] = {pool.submit(run_batch, batch) for batch in islice(batches, 2 * workers)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            running |= {pool.submit(run_batch, batch) for batch in islice(batches, len(done))}
            yield from (each.result() for each in done)


def _table(title: str, counts: dict[str, int] | dict[State, int]) -> None:
    print(f"\n{title}")
    for name, count in counts.items():
        print(f"  {name:40} {count:>9}")


def main() -> int:
    """Read the command line and fuzz."""
    parser = argparse.ArgumentParser(description="compare the product with the oracle on random tenants")
    parser.add_argument("--tenants", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    asked = parser.parse_args()
    return fuzz(asked.seed, max(1, asked.tenants), max(1, asked.workers))


if __name__ == "__main__":
    sys.exit(main())
