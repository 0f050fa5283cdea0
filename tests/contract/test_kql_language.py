"""Every KQL text that is shipped, before Microsoft's own language service, against the tables that a workspace holds."""

from __future__ import annotations

import pytest

from keydrift.tables import ALERTS, HEALTH, POSTURE
from support import rules, workbook
from support.kusto import TABLES, Diagnosis, as_query, diagnose, documented, inline, saved_functions, texts

FUNCTIONS = saved_functions()
TEXTS: dict[str, str] = {
    **{f"function {name}": as_query(each) for name, each in FUNCTIONS.items()},
    **{f"rule {name}": text for name, text in texts("rules").items()},
    **{f"hunting {name}": text for name, text in texts("hunting").items()},
    **{f"workbook {name}": text for name, text in workbook.queries().items()},
    **{f"bicep {name}": text for name, text in inline().items()},
    **{f"document {name}": text for name, text in documented().items()},
}
# Texts that must be refused: what each is wrong in, and the word that the refusal names
WRONG = {
    "a column that is not there": ("KeyDriftAlerts_CL | where Verdickt == 'lost'", "Verdickt"),
    "a name that a workspace reserves": ("KeyDriftAlerts_CL | project Title", "Title"),
    "a column of another table": ("KeyDriftHealth_CL | project BindingId", "BindingId"),
    "a table that is not there": ("KeyDriftAlert_CL | count", "KeyDriftAlert_CL"),
    "a function that is not there": ("KeyDriftCurrent() | count", "KeyDriftCurrent"),
    "a column that a function does not return": ("KeyDriftNotProven(5) | project Sequence", "Sequence"),
    "an operator that is not there": ("KeyDriftAlerts_CL | filtr Verdict == 'lost'", "operator"),
    "a type that does not fit": ("KeyDriftAlerts_CL | where startofday(Verdict) > now()", "datetime"),
}


@pytest.fixture(scope="module")
def diagnoses() -> dict[str, Diagnosis]:
    """One run of Node for all texts."""
    return diagnose(TEXTS | {name: text for name, (text, _) in WRONG.items()})


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_is_right(diagnoses: dict[str, Diagnosis], name: str) -> None:
    """A shipped text names only tables, columns and functions that are there, and returns columns."""
    assert diagnoses[name].errors == ()
    assert diagnoses[name].columns


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_text_is_refused(diagnoses: dict[str, Diagnosis], name: str) -> None:
    """What is wrong is found, and named."""
    errors = diagnoses[name].errors
    assert errors
    assert WRONG[name][1] in errors[0]


def test_every_kind_of_text_is_there() -> None:
    """Functions, rules, hunting queries, the workbook, Bicep and documents all have texts: an empty folder is no success."""
    kinds = {name.partition(" ")[0] for name in TEXTS}
    assert kinds == {"function", "rule", "hunting", "workbook", "bicep", "document"}


def test_a_renamed_column_breaks_the_texts() -> None:
    """Where a column that the texts live by is called otherwise in its table, texts that name it are refused."""
    renamed = {(ALERTS, "AlertTitle"), (POSTURE, "Proof"), (HEALTH, "HealthId"), ("AzureActivity", "Caller")}
    tables = {
        table: {f"{name}Renamed" if (table, name) in renamed else name: kind for name, kind in columns.items()}
        for table, columns in TABLES.items()
    }
    refused = " ".join(error for each in diagnose(TEXTS, tables).values() for error in each.errors)
    assert [name for _, name in renamed if f"'{name}'" not in refused] == []


@pytest.mark.parametrize("name", rules.NAMES)
def test_a_rule_maps_columns_of_its_query(diagnoses: dict[str, Diagnosis], name: str) -> None:
    """Entities, custom details, alert details and dimensions of a rule are columns that its query returns."""
    columns = diagnoses[f"rule {name}"].columns
    assert sorted(rules.columns_used(name) - columns.keys()) == []
    assert {columns[each] for each in rules.dimensions(name)} <= {"string"}
    assert columns["TimeGenerated"] == "datetime"


# What the schemas call mandatory: learn.microsoft.com/azure/sentinel/normalization-schema-alert, …-audit, …-common-fields
_COMMON = {
    "TimeGenerated": "datetime", "EventCount": "int", "EventStartTime": "datetime", "EventEndTime": "datetime",
    "EventType": "string", "EventResult": "string", "EventProduct": "string", "EventVendor": "string", "EventSchema": "string",
    "EventSchemaVersion": "string", "Dvc": "string", "AdditionalFields": "dynamic",
}  # fmt: skip
_MANDATORY = {
    "vimAlertEventKeyDrift": {**_COMMON, "EventUid": "string", "AlertId": "string", "AlertName": "string"},
    "vimAuditEventKeyDrift": {**_COMMON, "Operation": "string", "Object": "string", "ObjectType": "string"},
}


@pytest.mark.parametrize("name", _MANDATORY)
def test_a_parser_returns_the_fields_of_its_schema(diagnoses: dict[str, Diagnosis], name: str) -> None:
    """An ASIM parser returns every mandatory field, in the schema's type."""
    columns = diagnoses[f"function {name}"].columns
    assert {field: columns.get(field) for field in _MANDATORY[name]} == _MANDATORY[name]
