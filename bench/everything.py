"""Every benchmark, one after the other, printed as tables and kept in RESULTS.md (`make bench`, `make bench-peers`).

`make bench` needs nothing that `make setup` does not install; `--peers` installs the peers, each into an environment of its own,
and runs what stands beside them. `--only` picks benchmarks by their number. Nothing is asserted of time.
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from peer_environments import Peer, install
from results import RESULTS, Section, keep
from rich.console import Console

SWEEPS = (1_000, 10_000)
NUMBERS = tuple(range(1, 9))
_BESIDE_PEERS = (1, 2, 3, 7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What to run, and how much of it; `quick` makes every benchmark as small as it goes, to see that it runs."""

    numbers: tuple[int, ...]
    peers: frozenset[Peer]
    sweeps: tuple[int, ...] = SWEEPS
    quick: bool = False


def sections(asked: Asked, say: Callable[[str], None]) -> Iterator[Section]:
    """Every section that was asked for, as soon as it is measured. One that fails is told, and the others run."""
    for number in asked.numbers:
        try:
            # Imports belong to a benchmark: page.py needs a browser, sweep.py none
            yield from _apart(_BENCHMARKS[number], asked)
        except RuntimeError as error:
            say(f"benchmark {number} failed: {error}")


def _apart(work: Callable[[Asked], list[Section]], asked: Asked) -> list[Section]:
    # A process of its own: it hosts one function app only, and its imports, connections and memory begin anew
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(work, asked).result()


def _policies(asked: Asked) -> list[Section]:
    import beside  # noqa: PLC0415

    return [beside.policies(asked.peers, 1 if asked.quick else beside.TURNS, 20 if asked.quick else beside.VAULTS)]


def _roles(asked: Asked) -> list[Section]:
    import beside  # noqa: PLC0415

    return [beside.roles(asked.peers, 1 if asked.quick else beside.TURNS, (10,) if asked.quick else beside.ASSIGNMENTS)]


def _event(asked: Asked) -> list[Section]:
    import beside  # noqa: PLC0415

    return [beside.event(asked.peers, 1 if asked.quick else beside.TURNS, 3 if asked.quick else beside.EVENTS)]


def _event_to_row(asked: Asked) -> list[Section]:
    import event_to_row  # noqa: PLC0415

    return [event_to_row.section(event_to_row.run(3 if asked.quick else 60))]


def _sweep(asked: Asked) -> list[Section]:
    import sweep  # noqa: PLC0415
    from sweep_tenant import Size  # noqa: PLC0415

    sizes = (20,) if asked.quick else asked.sweeps
    return [sweep.section([sweep.run(Size.of(vaults / 10_000), 1000, 0.0) for vaults in sizes])]


def _flood(asked: Asked) -> list[Section]:
    import flood  # noqa: PLC0415

    size = (40, 20, 0) if asked.quick else (flood.EVENTS, flood.STORES, flood.WIDE)
    return [flood.section(flood.run(*size))]


def _start(asked: Asked) -> list[Section]:
    import start  # noqa: PLC0415

    custodian = Peer.C7N.python() if Peer.C7N in asked.peers else None
    return [start.section(start.measure(1 if asked.quick else start.RUNS, custodian))]


def _page(asked: Asked) -> list[Section]:
    import page  # noqa: PLC0415

    return [page.section(page.measure(40 if asked.quick else page.BINDINGS))]


_BENCHMARKS: Mapping[int, Callable[[Asked], list[Section]]] = {
    1: _policies,
    2: _roles,
    3: _event,
    4: _event_to_row,
    5: _sweep,
    6: _flood,
    7: _start,
    8: _page,
}


def main() -> None:
    """Parse the arguments, run, print, keep."""
    parser = argparse.ArgumentParser(description="Every benchmark, kept in bench/RESULTS.md.")
    parser.add_argument("--peers", action="store_true", help="install the peers, and run what stands beside them")
    parser.add_argument("--only", type=int, nargs="+", choices=NUMBERS, metavar="N", help="these benchmarks only, 1 to 8")
    parser.add_argument("--sweeps", type=int, nargs="+", default=SWEEPS, metavar="N", help="vaults of each sweep (1000 10000)")
    parser.add_argument("--quick", action="store_true", help="as small as they go: to see that they run")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FILE", help="where to keep them (bench/RESULTS.md)")
    asked = parser.parse_args()
    console, said = Console(), Console(stderr=True)
    installed = frozenset(each for each in Peer if install(each, said.print)) if asked.peers else frozenset[Peer]()
    numbers = tuple(asked.only or (_BESIDE_PEERS if asked.peers else NUMBERS))
    versions = {name: version for each in installed for name, version in each.versions.items()}
    failures: list[str] = []
    wanted = Asked(numbers=numbers, peers=installed, sweeps=tuple(asked.sweeps), quick=asked.quick)
    for section in sections(wanted, failures.append):
        section.show(console)
        keep(section, peers=versions if section.is_beside_peers else {}, path=asked.results)
    for each in failures:
        said.print(each)
    if failures:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
