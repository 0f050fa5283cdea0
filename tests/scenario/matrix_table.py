"""Writes `docs/catalogue.md` from the mutation matrix and the scenario files.

Run it with `PYTHONPATH=tests python -m scenario.matrix_table`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from keydrift.catalogue import CODES, level_of
from keydrift.model import PermissionModel, Scenario, State
from keydrift.resource_id import ResourceId
from keydrift_local.documents import member, text
from keydrift_local.tenant_objects import VAULT
from scenario.matrix import NOT_SCANNED, ROWS, Row
from scenario.matrix_cases import told_by
from support.tenants import HEALTHY, Document

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "catalogue.md"
CASES = ROOT / "tests" / "scenario" / "cases"
_ANNOUNCED = (
    "Where the time itself has come, Key Vault announces it with `{}`, for versions made while somebody subscribes: that event "
    "alone opens the alert, in either permission model of a vault."
)
_WORDS = {State.LOST: "lost", State.AT_RISK: "at risk", State.UNKNOWN: "unknown"}
_INTRODUCTION = """# The catalogue: every way to lose a key

Made by `PYTHONPATH=tests python -m scenario.matrix_table`; do not edit. Each code stands with its level, when it is found, and
how that is tested: a healthy tenant is changed in one thing, which shows this code and no other; a change that looks alike and
takes nothing away leaves the key held. Both are done for every scenario and permission model in the table, twice:

* `scan`: a scan of the changed tenant;
* the change alone: the healthy tenant is swept once and then changed, and the real function app hears nothing but the events that
  Azure emits for the change. *opened*: an alert with this level, this code alone and `DetectedVia` event is delivered within a
  minute, naming the actor where an event carries claims (*nobody named* where none does). Where Azure emits no event the table
  says why: nothing is delivered then, and the next sweep opens the alert. A near-miss delivers nothing, from its events or from
  the sweep after them.

The last column is a scenario file of that cell, to be played with `keydrift rehearse FILE --check`. *derived* is one that the
tests make of the two tenants: `PYTHONPATH=tests python -m scenario.matrix_cases CODE SCENARIO MODEL > FILE` prints it.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """A scenario file in whose alerts a code stands."""

    stem: str
    by_event: bool
    scenarios: frozenset[str]
    models: frozenset[PermissionModel]

    @property
    def link(self) -> str:
        return f"[{self.stem}](../tests/scenario/cases/{self.stem}.json)"


def _files() -> dict[str, list[Played]]:
    """For each code the scenario files that play it."""
    found: dict[str, list[Played]] = {}
    for path in sorted(CASES.glob("*.json")):
        case = json.loads(path.read_text(encoding="utf-8"))
        models = _models_in(json.loads((path.parent / case["tenant"]).read_text(encoding="utf-8")))
        rows: dict[str, list[Document]] = {}
        for row in case.get("expect", []):
            for code in row.get("FindingCodes", ()):
                rows.setdefault(code, []).append(row)
        for code, mine in rows.items():
            by_event = any(row.get("DetectedVia") == "event" for row in mine)
            scenarios = frozenset(str(row.get("Scenario")) for row in mine)
            found.setdefault(code, []).append(Played(stem=path.stem, by_event=by_event, scenarios=scenarios, models=models))
    return found


def _models_in(tenant: Document) -> frozenset[PermissionModel]:
    """The permission models of a tenant's key stores, before anything changes."""
    vaults = [each for each in tenant["resources"] if ResourceId.parse(each["id"]).resource_type == VAULT]
    by_rbac = {each["properties"].get("enableRbacAuthorization") is True for each in vaults}
    models = {PermissionModel.RBAC if rbac else PermissionModel.ACCESS_POLICY for rbac in by_rbac}
    return frozenset(models | ({PermissionModel.MANAGED_HSM} if tenant.get("managedHsms") else set()))


def _level(code: str) -> str:
    levels = {level_of(code, scenario) for scenario in Scenario}
    if len(levels) == 1:
        return _WORDS[CODES[code].level]
    milder = ", ".join(f"`{each}`" for each in Scenario if level_of(code, each) is not CODES[code].level)
    return f"{_WORDS[CODES[code].level]} ({_WORDS[min(levels, key=lambda level: level.rank)]} for {milder})"


def _cells(row: Row, files: list[Played]) -> list[str]:
    lines = ["| scenario | permission model | `scan` | the change alone | scenario file |", "|---|---|---|---|---|"]
    apart: dict[str, list[tuple[Scenario, PermissionModel]]] = {}
    for scenario, model in HEALTHY:
        reason = row.reason(scenario, model)
        if reason is not None:
            apart.setdefault(reason, []).append((scenario, model))
            continue
        level = _WORDS[level_of(row.code, scenario)]
        lines.append(f"| `{scenario}` | {model} | {level} | {_alone(row, scenario, model)} | {_file(files, scenario, model)} |")
    reasons = [f"* {_where(cells)}: {reason}." for reason, cells in apart.items()]
    return [*lines, *(["", "Not applicable:", "", *reasons] if apart else [])]


def _where(cells: list[tuple[Scenario, PermissionModel]]) -> str:
    """Cells in short: a scenario in all its models, a model in all its scenarios, else one by one."""
    whole = [s for s in Scenario if all(cell in cells for cell in HEALTHY if cell[0] is s)]
    rest = [cell for cell in cells if cell[0] not in whole]
    words = [f"`{each}`" for each in whole]
    for model in PermissionModel:
        mine = [cell for cell in rest if cell[1] is model]
        if mine and all(cell in cells for cell in HEALTHY if cell[1] is model):
            words.append(str(model))
        else:
            words += [f"`{scenario}` ({model})" for scenario, _ in mine]
    return ", ".join(words)


def _alone(row: Row, scenario: Scenario, model: PermissionModel) -> str:
    silence = row.silence(scenario, model)
    if silence is not None:
        heard = row.daily and model is not PermissionModel.MANAGED_HSM
        when = "a sweep on the next day" if row.daily else "the next sweep"
        return f"{'nothing' if heard else 'no event'}: {silence}; opened by {when}"
    events = told_by(row, scenario, model)
    named = any(member(each, "data", "claims") for each in events)
    names = dict.fromkeys(text(each, "data", "operationName") or str(each["eventType"]) for each in events)
    return f"opened, {'actor named' if named else 'nobody named'}: {', '.join(f'`{name}`' for name in names)}"


def _file(files: list[Played], scenario: Scenario, model: PermissionModel) -> str:
    mine = [each for each in files if str(scenario) in each.scenarios and model in each.models]
    return min(mine, key=lambda each: (not each.by_event, each.stem)).link if mine else "derived"


def _played(files: list[Played]) -> list[str]:
    lines = []
    for words, wanted in (("Found by the event alone", True), ("Played", False)):
        links = [each.link for each in files if each.by_event is wanted]
        if links:
            lines += ["", f"{words}: {', '.join(links)}."]
    return lines


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
                *([f"* Assumed: {row.assumed}."] if row.assumed else []),
                *([f"* Without an event, so found by a sweep: {row.besides}."] if row.besides else []),
                *([f"* {_ANNOUNCED.format(row.announced)}"] if row.announced else []),
                "",
                *_cells(row, files.get(code, [])),
            ]
        lines += [*_played(files.get(code, [])), ""]
    return "\n".join(lines).rstrip("\n") + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
