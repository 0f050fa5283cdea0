"""Writes `docs/catalogue.md` from the mutation matrix and the scenario files.

Run it with `PYTHONPATH=tests python -m scenario.matrix_table`.
"""

from __future__ import annotations

import json
from pathlib import Path

from keydrift.catalogue import CODES, level_of
from keydrift.model import Scenario, State
from scenario.matrix import NOT_SCANNED, ROWS, Row
from support.tenants import HEALTHY

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "catalogue.md"
CASES = ROOT / "tests" / "scenario" / "cases"
_WORDS = {State.LOST: "lost", State.AT_RISK: "at risk", State.UNKNOWN: "unknown"}
_INTRODUCTION = """# The catalogue: every way to lose a key

Made by `PYTHONPATH=tests python -m scenario.matrix_table`; do not edit. Each code stands with its level, when it is found, and
how that is tested: a healthy tenant is changed in one thing, a scan of it shows this code and no other, and a change that looks
alike and takes nothing away leaves the key held. The table says for which scenarios and permission models that is done, and why
not for the others. Scenario files play the code through the whole monitor; those found *by the event alone* need no sweep.
"""


def _files() -> dict[str, list[tuple[str, bool]]]:
    """For each code the scenario files in whose alerts it stands, and whether an event brought one of them."""
    found: dict[str, dict[str, bool]] = {}
    for path in sorted(CASES.glob("*.json")):
        for row in json.loads(path.read_text(encoding="utf-8")).get("expect", []):
            for code in row["FindingCodes"]:
                by_event = row.get("DetectedVia") == "event"
                mine = found.setdefault(code, {})
                mine[path.stem] = mine.get(path.stem, False) or by_event
    return {code: list(files.items()) for code, files in found.items()}


def _level(code: str) -> str:
    levels = {level_of(code, scenario) for scenario in Scenario}
    if len(levels) == 1:
        return _WORDS[CODES[code].level]
    milder = ", ".join(f"`{each}`" for each in Scenario if level_of(code, each) is not CODES[code].level)
    return f"{_WORDS[CODES[code].level]} ({_WORDS[min(levels, key=lambda level: level.rank)]} for {milder})"


def _cells(row: Row) -> list[str]:
    lines = ["| scenario | covered under | not applicable |", "|---|---|---|"]
    for scenario in Scenario:
        covered: list[str] = []
        reasons: dict[str, list[str]] = {}
        for each, model in HEALTHY:
            if each is scenario:
                reason = row.reason(scenario, model)
                if reason is None:
                    covered.append(str(model))
                else:
                    reasons.setdefault(reason, []).append(str(model))
        why = "; ".join(
            reason if not covered and len(reasons) == 1 else f"{', '.join(m)}: {reason}" for reason, m in reasons.items()
        )
        lines.append(f"| `{scenario}` | {', '.join(covered) or '-'} | {why or '-'} |")
    return lines


def _played(code: str, files: dict[str, list[tuple[str, bool]]]) -> list[str]:
    mine = files.get(code, [])
    lines = []
    for words, wanted in (("Found by the event alone", True), ("Played", False)):
        links = [f"[{stem}](../tests/scenario/cases/{stem}.json)" for stem, by_event in mine if by_event is wanted]
        if links:
            lines += ["", f"{words}: {', '.join(links)}."]
    return lines or ["", "No scenario file plays it."]


def page() -> str:
    """The whole page."""
    files = _files()
    lines = [_INTRODUCTION]
    for code, known in CODES.items():
        lines += [f"## `{code}`", "", f"{known.title}. Level: {_level(code)}.", ""]
        if code in NOT_SCANNED:
            lines += [f"Not in the matrix: {NOT_SCANNED[code]}."]
        else:
            row = ROWS[code]
            lines += [
                f"* When: {row.when}.",
                f"* Tested by: {row.change}.",
                f"* Held all the same: {row.near}.",
                "",
                *_cells(row),
            ]
        lines += [*_played(code, files), ""]
    return "\n".join(lines).rstrip("\n") + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
