"""The Bicep of the alert table and its rule against the rows that the product sends."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from keydrift.actor import Explanation
from keydrift.declared import NOT_EXEMPT
from keydrift.drift import Alert, Kind, Via, alert_id
from keydrift.health import HealthCheck, HealthReading, HealthStatus, health_row
from keydrift.model import PermissionModel, Scenario, State
from keydrift.row import alert_row, posture_row
from keydrift.tables import ALERT_COLUMNS, ALERTS, HEALTH_COLUMNS, POSTURE_COLUMNS, RESERVED, TABLES, WORKSPACE_COLUMNS
from support.builders import NOW, binding, granting, judged

_BICEP = (Path(__file__).resolve().parents[2] / "infra" / "log-analytics.bicep").read_text(encoding="utf-8")
_COLUMN = re.compile(r"\{ name: '(\w+)', type: '(\w+)' \}")
# What a stream declaration and a table may say: Microsoft.Insights/dataCollectionRules and
# Microsoft.OperationalInsights/workspaces/tables, in the types that Bicep knows
_STREAM_TYPES = {"string", "int", "long", "real", "boolean", "datetime", "dynamic"}
_TABLE_TYPES = {"string", "int", "long", "real", "boolean", "dateTime", "guid", "dynamic"}
# https://learn.microsoft.com/azure/azure-monitor/logs/create-custom-table
_RESERVED = {"_resourceid", "id", "_subscriptionid", "tenantid", "type", "uniqueid", "title"}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,44}")


def _resource(name: str) -> str:
    """The text of a resource's declaration: it ends at the first brace that stands in the first column."""
    found = re.search(rf"^resource {name} '.*?^\}}", _BICEP, re.MULTILINE | re.DOTALL)
    assert found is not None, f"no resource {name}"
    return found.group()


def _columns(text: str) -> list[tuple[str, str]]:
    lists = re.findall(r"columns: \[\n(.*?)^ *\]", text, re.MULTILINE | re.DOTALL)
    assert len(lists) == 1
    lines = [line.strip() for line in lists[0].splitlines()]
    columns = [match.groups() for line in lines if (match := _COLUMN.fullmatch(line))]
    assert len(columns) == len(lines), "a column that this test cannot read"
    return [(name, kind) for name, kind in columns]


def test_table_has_the_columns_of_the_product() -> None:
    """The table is made with every column of an alert, in Log Analytics' spelling of its type."""
    expected = [(name, "dateTime" if kind == "datetime" else kind) for name, kind in WORKSPACE_COLUMNS.items()]
    assert _columns(_resource("alerts")) == expected
    assert {kind for _, kind in expected} <= _TABLE_TYPES


def test_stream_has_the_columns_of_the_product() -> None:
    """The rule's stream declares every column of an alert: one that is missing there is dropped without an error."""
    expected = list(ALERT_COLUMNS.items())
    assert _columns(_resource("rule")) == expected
    assert {kind for _, kind in expected} <= _STREAM_TYPES


def test_rows_pass_from_the_stream_to_the_table() -> None:
    """The rule takes the product's stream, drops the reserved columns and nothing else, and fills the product's table."""
    table, rule = _resource("alerts"), _resource("rule")
    assert re.findall(r"name: '(\w+_CL)'", table) == [ALERTS, ALERTS]
    assert f"var stream = 'Custom-{ALERTS}'" in _BICEP
    assert re.findall(r"'(Custom-\w+)': \{", rule) == [f"Custom-{ALERTS}"]
    assert re.search(r"streams: \[\s*stream\s*\]", rule)
    assert "outputStream: stream" in rule
    assert f"transformKql: 'source | project-away {', '.join(sorted(RESERVED, reverse=True))}'" in rule


def test_rule_has_an_endpoint_of_its_own() -> None:
    """The rule is of kind Direct, without which it has no ingestion endpoint."""
    assert "kind: 'Direct'" in _resource("rule")


def test_column_names_are_well_formed() -> None:
    """Log Analytics takes at most 45 letters, digits and underscores, the first a letter."""
    assert [name for columns in TABLES.values() for name in columns if not _NAME.fullmatch(name)] == []


def test_no_column_has_a_reserved_name() -> None:
    """No column is called as Log Analytics calls its own."""
    assert [name for name in WORKSPACE_COLUMNS if name.lower() in _RESERVED] == []


def test_a_posture_row_has_exactly_the_columns() -> None:
    """The last proof is rendered with all columns of its table and no other."""
    of = binding(Scenario.CVM_CMK, PermissionModel.RBAC)
    verdict = judged(of, granting(of, PermissionModel.RBAC, ()))
    row = posture_row(verdict, NOT_EXEMPT, "sweep", NOW, None)
    assert row.keys() == POSTURE_COLUMNS.keys()
    assert wrongly_typed(row, POSTURE_COLUMNS) == []


def test_a_health_row_has_exactly_the_columns() -> None:
    """A check of the monitor itself is rendered with all columns of its table and no other."""
    reading = HealthReading(check=HealthCheck.HEARTBEAT, status=HealthStatus.OK, summary="alive", value=1.0, unit="key bindings")
    row = health_row(reading, NOW, None)
    assert row.keys() == HEALTH_COLUMNS.keys()
    assert wrongly_typed(row, HEALTH_COLUMNS) == []


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("model", list(PermissionModel))
def test_a_row_has_exactly_the_columns(kind: Kind, model: PermissionModel) -> None:
    """Every alert is rendered with all columns of the table and no other."""
    assert alert_row(_alert(kind, model), None).keys() == ALERT_COLUMNS.keys()


def test_values_of_a_row_have_the_types_of_the_columns() -> None:
    """No value is of another JSON type than its column."""
    row = alert_row(_alert(Kind.OPENED, PermissionModel.RBAC), "00000000-0000-0000-0000-000000000001")
    assert wrongly_typed(row, ALERT_COLUMNS) == []


def wrongly_typed(row: Mapping[str, object], columns: Mapping[str, str]) -> list[str]:
    """The columns whose value is of another JSON type than the column's."""
    types: dict[str, tuple[type, ...]] = {
        "datetime": (str,), "string": (str,), "dynamic": (list, dict), "long": (int,), "int": (int,), "boolean": (bool,),
        "real": (float, int),
    }  # fmt: skip
    return [name for name, value in row.items() if value is not None and type(value) not in types[columns[name]]]


def _alert(kind: Kind, model: PermissionModel) -> Alert:
    of = binding(Scenario.CVM_CMK, model)
    verdict = judged(of, granting(of, model, ()))
    return Alert(
        id=alert_id(of.id, 7),
        kind=kind,
        sequence=7,
        verdict=verdict,
        previous=State.HELD if kind is Kind.OPENED else State.LOST,
        via=Via.EVENT,
        detected_at=NOW,
        cause_key="cause",
        explanation=Explanation.none(),
    )
