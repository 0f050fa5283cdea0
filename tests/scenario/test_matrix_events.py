"""The mutation matrix, played: the change reaches the real function app as the events that Azure would emit, nothing else does.

Every rehearsal begins after one sweep of the healthy tenant; no timer comes in between.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from keydrift.model import PermissionModel, Scenario
from keydrift_local.documents import JsonObject
from keydrift_local.expectation import difference
from keydrift_local.local_azure import LocalAzure
from keydrift_local.rehearsal import in_memory, rehearse
from keydrift_local.scenario_file import load_scenario
from keydrift_local.tenant_file import parse_tenant
from keydrift_local.tenant_objects import Section
from scenario import matrix_cases
from scenario.matrix import COVERED, ROWS
from scenario.matrix_cases import SOON, told_by
from scenario.matrix_changes import Objects, applied, changes_between, objects_of
from support.rehearsals import SWEEP, Stage
from support.tenants import TENANT_ID, Document

CELLS = pytest.mark.parametrize(("code", "scenario", "model"), COVERED, ids=[".".join(cell) for cell in COVERED])


ANNOUNCED = tuple(cell for cell in COVERED if ROWS[cell[0]].announced and cell[2] is not PermissionModel.MANAGED_HSM)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """One server for the module; its pages are large, since a key has up to 501 versions here."""
    with (
        LocalAzure(parse_tenant({"tenantId": TENANT_ID}, "test"), page_size=250) as azure,
        TemporaryDirectory(dir=in_memory()) as held,
    ):
        yield Stage(azure, Path(held))


# --- the changes ---------------------------------------------------------------------------------------------------------


@CELLS
def test_the_changes_lead_from_one_tenant_to_the_other(code: str, scenario: Scenario, model: PermissionModel) -> None:
    """The derived changes make of the first tenant what a scan of the second is judged on; dates that Azure sets apart."""
    row = ROWS[code]
    for before, target in ((row.before, row.mutated(scenario, model)), (row.near_before, row.missed(scenario, model))):
        assert not isinstance(target, str)
        start = row.start(scenario, model, before)
        reached = applied(start, changes_between(start, target))
        assert _shown(objects_of(reached)) == _shown(objects_of(parse_tenant(_plain(target), "test")))


@CELLS
def test_silence_has_its_reason_and_only_silence(code: str, scenario: Scenario, model: PermissionModel) -> None:
    """A cell gives a reason for silence where the mutation has no event, is Azure's own or is counted daily, and nowhere else."""
    row = ROWS[code]
    reason = row.silence(scenario, model)
    heard = bool(told_by(row, scenario, model))
    assert heard is (reason is None or (row.daily and model is not PermissionModel.MANAGED_HSM))
    assert reason is None or len(reason.split()) > 3


# --- the rehearsals ------------------------------------------------------------------------------------------------------


@CELLS
async def test_mutation(stage: Stage, code: str, scenario: Scenario, model: PermissionModel) -> None:
    """The change alone opens an alert of this code and no other; where Azure tells nothing, the next sweep does, not before."""
    case = matrix_cases.mutation(code, scenario, model)
    beginning, rest = _parted(case)
    async with stage.after(beginning, case) as played:
        if SWEEP in rest:
            alone, rest = rest[: rest.index(SWEEP)], rest[rest.index(SWEEP) :]
            await played.play(*alone)
            assert played.alerts == []
        await played.play(*rest)
        assert difference(case["expect"], played.alerts) is None


@CELLS
async def test_near_miss(stage: Stage, code: str, scenario: Scenario, model: PermissionModel) -> None:
    """The change that looks alike and takes nothing away is alerted neither for its events nor in the sweep after it; of a
    consumer that names another key afterwards that alone is told."""
    case = matrix_cases.near_miss(code, scenario, model)
    beginning, rest = _parted(case)
    async with stage.after(beginning, case) as played:
        await played.play(*rest)
        assert difference(case["expect"], played.alerts) is None


@pytest.mark.parametrize(("code", "scenario", "model"), ANNOUNCED, ids=[".".join(cell) for cell in ANNOUNCED])
async def test_announcement(stage: Stage, code: str, scenario: Scenario, model: PermissionModel) -> None:
    """What time alone has brought about is opened by the event with which Key Vault announces it."""
    case = matrix_cases.announcement(code, scenario, model)
    beginning, rest = _parted(case)
    async with stage.after(beginning, case) as played:
        *silent, event, soon = rest
        await played.play(*silent)
        assert played.alerts == []
        await played.play(event, soon)
        assert difference(case["expect"], played.alerts) is None


@pytest.mark.parametrize(
    "cell",
    [
        ("role-assignment-absent", Scenario.ADE_KEK, PermissionModel.RBAC),
        ("key-disabled", Scenario.CVM_DES, PermissionModel.MANAGED_HSM),
    ],
    ids=["found by its events", "found by a sweep"],
)
async def test_a_cell_is_a_scenario_file(tmp_path: Path, cell: tuple[str, Scenario, PermissionModel]) -> None:
    """What is printed for a cell is a scenario file that plays from beginning to end as it expects."""
    path = tmp_path / "cell.json"
    path.write_text(json.dumps(matrix_cases.mutation(*cell)))
    scenario = load_scenario(path)
    assert scenario.expect
    assert difference(scenario.expect, await rehearse(scenario)) is None


def _parted(case: Document) -> tuple[list[Document], list[Document]]:
    end = case["steps"].index(SOON) + 1
    return case["steps"][:end], case["steps"][end:]


def _plain(tenant: Document) -> Document:
    return {name: each for name, each in tenant.items() if name != "faults"}


def _shown(objects: Objects) -> dict[tuple[Section, str], object]:
    """What is to be the same. Of a soft-deleted key store that is its presence: Azure dates it when it is deleted."""
    soft_deleted = (Section.DELETED_VAULTS, Section.DELETED_HSMS)
    return {at: None if at[0] in soft_deleted else _without_id(each.body) for at, each in objects.items()}


def _without_id(body: JsonObject) -> JsonObject:
    return {name: each for name, each in body.items() if name != "id"}
