"""The mutation matrix, scanned: every code in every cell where it applies comes out alone, and every near-miss is held."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from keydrift.catalogue import CODES, level_of
from keydrift.model import PermissionModel, Scenario, State, Verdict
from keydrift.scan import scan
from keydrift.settings import Settings
from keydrift_local.local_azure import LocalAzure
from keydrift_local.tenant_file import parse_tenant
from scenario import matrix_table
from scenario.matrix import CELLS, COVERED, NOT_SCANNED, ROWS
from support.azure import azure, reading, serve
from support.queues_memory import ManualClock
from support.tenants import HEALTHY, TENANT_ID, Document, healthy

__all__ = ["azure"]


@pytest.fixture(scope="session")
def azure_server() -> Iterator[LocalAzure]:
    """One server for the session; its pages are large, since a key has up to 501 versions here."""
    with LocalAzure(parse_tenant({"tenantId": TENANT_ID}, "test"), page_size=250) as server:
        yield server


async def scanned(azure: LocalAzure, document: Document) -> dict[Scenario, Verdict]:
    """The verdicts of a scan of the tenant, one a scenario; `faults` in the document are Azure's."""
    faults = document.pop("faults", [])
    serve(azure, document)
    for fault in faults:
        azure.fault(fault)
    async with reading(settings=replace(Settings(), tenant_id=TENANT_ID)) as composed:
        result = await scan(
            consumers=composed.consumers,
            bulk=composed.bulk,
            clock=ManualClock(),
            policy=composed.policy,
            subscriptions=(),
        )
    found = {verdict.binding.scenario: verdict for verdict in result.verdicts}
    assert len(found) == len(result.verdicts)
    return found


def shown(verdicts: dict[Scenario, Verdict]) -> dict[Scenario, tuple[State, frozenset[str]]]:
    return {scenario: (verdict.state, verdict.codes) for scenario, verdict in verdicts.items()}


def ids(cells: tuple[tuple[str, Scenario, PermissionModel], ...]) -> list[str]:
    return [".".join(cell) for cell in cells]


# --- the table -----------------------------------------------------------------------------------------------------------


def test_every_code_has_its_row() -> None:
    """Every code of the catalogue has a row with a cell that shows it, or a reason why no scan shows it."""
    assert {code for code, _, _ in COVERED} == set(ROWS)
    assert set(ROWS) | set(NOT_SCANNED) == set(CODES)
    assert not set(ROWS) & set(NOT_SCANNED)


def test_no_cell_is_empty() -> None:
    """Every cell holds a mutation and a near-miss, or a reason of several words."""
    for code, scenario, model in CELLS:
        changed, near = ROWS[code].mutated(scenario, model), ROWS[code].missed(scenario, model)
        if isinstance(changed, str):
            assert near == changed
            assert len(changed.split()) > 3
        else:
            own = healthy(scenario, model)
            assert changed != own
            assert near not in (own, changed)


def test_the_page_is_the_table() -> None:
    """The catalogue page is what its generator makes of the table and the scenario files."""
    page = Path(__file__).parents[2] / "docs" / "catalogue.md"
    assert page.read_text(encoding="utf-8") == matrix_table.page()


# --- the scans -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scenario", "model"), HEALTHY)
async def test_healthy(azure: LocalAzure, scenario: Scenario, model: PermissionModel) -> None:
    """What every mutation begins with is held, with no finding at all."""
    found = await scanned(azure, healthy(scenario, model))
    assert (found[scenario].state, found[scenario].codes, found[scenario].permission_model) == (State.HELD, frozenset(), model)
    assert {verdict.state for verdict in found.values()} == {State.HELD}


@pytest.mark.parametrize(("code", "scenario", "model"), COVERED, ids=ids(COVERED))
async def test_mutation(azure: LocalAzure, code: str, scenario: Scenario, model: PermissionModel) -> None:
    """One change gives one code, at its level, to the binding it concerns and to no other."""
    row = ROWS[code]
    document = row.mutated(scenario, model)
    assert not isinstance(document, str)
    found = await scanned(azure, document)
    assert scenario in found
    hit = {each for each in found if each is scenario or (row.shared and row.reason(each, model) is None)}
    assert shown(found) == {
        each: (level_of(code, each), frozenset({code})) if each in hit else (State.HELD, frozenset()) for each in found
    }


@pytest.mark.parametrize(("code", "scenario", "model"), COVERED, ids=ids(COVERED))
async def test_near_miss(azure: LocalAzure, code: str, scenario: Scenario, model: PermissionModel) -> None:
    """The change that looks alike and takes nothing away leaves every binding held, with no finding."""
    document = ROWS[code].missed(scenario, model)
    assert not isinstance(document, str)
    found = await scanned(azure, document)
    assert scenario in found
    assert shown(found) == dict.fromkeys(found, (State.HELD, frozenset()))
