"""Coverage-guided fuzzing of every reader of others' input: `python tests/fuzz_inputs.py --seconds 600`.

Each target of `support.fuzz_targets` runs in a process of its own under atheris (libFuzzer), from the kept corpus and from real
documents, for its part of the time. JSON is changed as a document as often as by bytes. What fails is written to
`.keydrift/fuzz/<target>/crash-…`, shown, and the exit status is 1; put the file under `tests/fuzz_corpus/<target>/` and mend it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(_ROOT / "src"), str(_ROOT / "tests"), str(_ROOT)]

KEPT, WORK = _ROOT / "tests" / "fuzz_corpus", _ROOT / ".keydrift" / "fuzz"
# One input may take ten seconds and a gigabyte at most: what takes more is a finding
_LIMITS = ("-timeout=10", "-rss_limit_mb=1500", "-max_len=65536")
_FIGURES = re.compile(r"cov: (\d+) .*corp: (\d+)/")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a target's run ended: inputs tried, edges covered, inputs kept, and what failed (empty: nothing)."""

    target: str
    runs: int
    edges: int
    kept: int
    failure: str


def fuzz(target: str, seconds: int, seed: int) -> None:
    """Fuzz one target in this process. Does not return: libFuzzer ends the process."""
    import atheris  # not among the packages of `make setup`: `make fuzz-inputs` installs it

    with atheris.instrument_imports(include=["keydrift", "keydrift_local"]):
        from support.fuzz_targets import JSON_TARGETS, TARGETS
    from support.hostile import mutated, spelled

    work = WORK / target
    (work / "corpus").mkdir(parents=True, exist_ok=True)
    (work / "seeds").mkdir(exist_ok=True)
    for number, each in enumerate(TARGETS[target].seeds()):
        (work / "seeds" / f"{number}").write_bytes(each)

    def change(data: bytes, most: int, chosen: int) -> bytes:
        dice = random.Random(chosen)
        lead = data[:1] if target == "answers" else b""
        if target in JSON_TARGETS and dice.random() < 0.6:
            try:
                document = json.loads(data[len(lead) :])
            except (ValueError, RecursionError):
                document = None
            if document is not None:
                return (lead + spelled(mutated(document, dice), dice).encode("utf-8", "surrogatepass"))[:most]
        return bytes(atheris.Mutate(data, most))

    kept = [str(path) for path in (KEPT / target,) if path.is_dir()]
    folders = [str(work / "corpus"), str(work / "seeds"), *kept]
    options = [f"-max_total_time={seconds}", f"-seed={seed}", f"-artifact_prefix={work}/", "-print_final_stats=1", *_LIMITS]
    atheris.Setup([sys.argv[0], *options, *folders], TARGETS[target].run, custom_mutator=change)
    atheris.Fuzz()


def _one(target: str, seconds: int, seed: int) -> Outcome:
    command = [sys.executable, __file__, "--only", target, "--seconds", str(seconds), "--seed", str(seed)]
    ended = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, cwd=_ROOT)
    said = ended.stderr + ended.stdout
    figures = _FIGURES.findall(said)
    runs = re.search(r"stat::number_of_executed_units:\s*(\d+)", said)
    edges, kept = (int(each) for each in figures[-1]) if figures else (0, 0)
    failure = said[-6_000:] if ended.returncode else ""
    return Outcome(target, int(runs[1]) if runs else 0, edges, kept, failure)


def fuzz_all(targets: list[str], seconds: int, seed: int, workers: int) -> Iterator[Outcome]:
    """Fuzz targets side by side, each for an equal part of the time that all workers have."""
    each = max(5, seconds * workers // len(targets))
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(lambda target: _one(target, each, seed), targets)


def main() -> int:
    """Read the command line and fuzz."""
    parser = argparse.ArgumentParser(description="fuzz the readers of others' input, guided by coverage")
    parser.add_argument("--seconds", type=int, default=600, help="how long all of it takes (default 600)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--seed", type=int, default=int(time.time()) % 2**31, help="libFuzzer's seed (default: the time)")
    parser.add_argument("--only", help="one target, in this process")
    asked = parser.parse_args()
    if asked.only:
        fuzz(asked.only, asked.seconds, asked.seed)
    from support.fuzz_targets import TARGETS

    names, status = list(TARGETS), 0
    print(f"{len(names)} targets, {asked.seconds} s with {asked.workers} workers, seed {asked.seed}", flush=True)
    print(f"{'target':14}{'inputs':>12}{'edges':>8}{'corpus':>8}", flush=True)
    for found in fuzz_all(names, asked.seconds, asked.seed, asked.workers):
        print(
            f"{found.target:14}{found.runs:>12}{found.edges:>8}{found.kept:>8}  {'FAILED' if found.failure else ''}", flush=True
        )
        if found.failure:
            status = 1
            print(found.failure, file=sys.stderr)
    print("no undocumented error" if status == 0 else f"what failed is in {os.path.relpath(WORK)}", flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
