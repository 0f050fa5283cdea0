"""The tables in a workspace, the streams that fill them, and the rows that the product sends: all of one source."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import pytest

from keydrift.alerts.actor import Explanation
from keydrift.alerts.row import alert_row, posture_row
from keydrift.declared import NOT_EXEMPT
from keydrift.drift import Alert, Kind, Via, alert_id
from keydrift.health import HealthCheck, HealthReading, HealthStatus, health_row
from keydrift.model import PermissionModel, Scenario, State
from keydrift.tables import ALERT_COLUMNS, HEALTH_COLUMNS, POSTURE_COLUMNS, RESERVED, TABLES, WORKSPACE_COLUMNS, stream_of
from support import log_tables
from support.bicep import INFRA, literal, members, read, text_of
from support.builders import NOW, binding, granting, judged

_LOGS = json.loads(log_tables.FILE.read_text(encoding="utf-8"))
_TABLES = {each["name"]: each for each in _LOGS["tables"]}
# What a stream declaration and a table may say: Microsoft.Insights/dataCollectionRules and
# Microsoft.OperationalInsights/workspaces/tables, in the types that Bicep knows
_STREAM_TYPES = {"string", "int", "long", "real", "boolean", "datetime", "dynamic"}
_TABLE_TYPES = {"string", "int", "long", "real", "boolean", "dateTime", "guid", "dynamic"}
# https://learn.microsoft.com/azure/azure-monitor/logs/create-custom-table
_RESERVED = {"_resourceid", "id", "_subscriptionid", "tenantid", "type", "uniqueid", "title"}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,44}")


def _kinds(columns: list[dict[str, str]]) -> dict[str, str]:
    kinds = {each["name"]: each["type"] for each in columns}
    assert len(kinds) == len(columns), "a column stands twice"
    return kinds


def test_the_file_is_what_make_tables_writes() -> None:
    """infra/tables.json, which the templates load, is the product's tables as they are now."""
    assert log_tables.FILE.read_text(encoding="utf-8") == log_tables.rendered()


def test_every_table_is_made_and_fed() -> None:
    """There is a table and a stream for each of the product's tables, and no other."""
    assert _TABLES.keys() == TABLES.keys()
    assert _LOGS["streams"].keys() == {stream_of(table) for table in TABLES}


@pytest.mark.parametrize("table", TABLES)
def test_stream_has_the_columns_of_the_product(table: str) -> None:
    """The rule's stream declares every column of a row: one that is missing there is dropped without an error."""
    declared = _kinds(_LOGS["streams"][stream_of(table)]["columns"])
    assert declared == TABLES[table]
    assert set(declared.values()) <= _STREAM_TYPES


@pytest.mark.parametrize("table", TABLES)
def test_table_has_the_columns_of_its_stream(table: str) -> None:
    """The table holds what the stream declares, but for reserved names, in the workspace's spelling of each type."""
    held = _kinds(_TABLES[table]["columns"])
    stream = _kinds(_LOGS["streams"][stream_of(table)]["columns"])
    assert set(held.values()) <= _TABLE_TYPES
    assert {name: kind.lower() for name, kind in held.items()} == {n: k for n, k in stream.items() if n not in RESERVED}


@pytest.mark.parametrize("table", TABLES)
def test_rows_pass_from_the_stream_to_the_table(table: str) -> None:
    """The transformation drops the columns that the table lacks and nothing else."""
    made = _TABLES[table]
    assert made["stream"] == stream_of(table)
    dropped = re.fullmatch(r"source(?: \| project-away ([\w, ]+))?", made["transformKql"])
    assert dropped is not None
    gone = set(dropped.group(1).split(", ")) if dropped.group(1) else set()
    assert gone == TABLES[table].keys() - {each["name"] for each in made["columns"]}


def test_the_rule_is_made_of_the_file() -> None:
    """The data collection rule and the tables load that file, and the rule is of kind Direct: it has an endpoint of its own."""
    ingestion, tables = read(INFRA / "modules/ingestion.bicep"), read(INFRA / "modules/log-tables.bicep")
    for template in (ingestion, tables):
        assert text_of(template.variables["logs"]) == "loadJsonContent('../tables.json')"
    rule = ingestion.resource("rule")
    properties = members(rule.member("properties"))
    assert literal(rule.member("kind")) == "Direct"
    assert text_of(properties["streamDeclarations"]) == "logs.streams"
    flow = re.sub(r"\s+", " ", text_of(properties["dataFlows"]))
    assert flow.startswith("[ for table in logs.tables: {")
    for each in ("streams: [ table.stream ]", "transformKql: table.transformKql", "outputStream: table.stream"):
        assert each in flow
    made = tables.resource("made")
    assert text_of(members(made.member("properties", "schema"))["columns"]) == "table.columns"


def test_column_names_are_well_formed() -> None:
    """Log Analytics takes at most 45 letters, digits and underscores, the first a letter."""
    assert [name for columns in TABLES.values() for name in columns if not _NAME.fullmatch(name)] == []


def test_no_column_has_a_reserved_name() -> None:
    """No column is called as Log Analytics calls its own."""
    held = [column["name"] for table in _TABLES.values() for column in table["columns"]]
    assert [name for name in (*held, *WORKSPACE_COLUMNS) if name.lower() in _RESERVED] == []


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
