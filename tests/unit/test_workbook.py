"""The workbook: of the shape that Azure Monitor takes, with every parameter declared and every question answered."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest

from support import workbook
from support.corpus import corpus
from support.rules import module


def test_workbook_keeps_to_its_published_schema() -> None:
    """The workbook is valid by the schema that Microsoft publishes for the gallery."""
    schema = json.loads((corpus() / "schemas" / "workbook.schema.json").read_text(encoding="utf-8"))
    errors = jsonschema.Draft7Validator(schema).iter_errors(workbook.workbook())
    assert [f"{'/'.join(map(str, each.path))}: {each.message[:200]}" for each in errors] == []


def test_steps_are_of_known_types() -> None:
    """Every step is text, parameters, a query or a group, with a name of its own."""
    versions = {1: None, 3: "KqlItem/1.0", 9: "KqlParameterItem/1.0", 12: "NotebookGroup/1.0"}
    names = [step["name"] for step in workbook.steps()]
    assert len(names) == len(set(names))
    assert [(step["name"], step["content"].get("version")) for step in workbook.steps()] == [
        (step["name"], versions[step["type"]]) for step in workbook.steps()
    ]
    assert workbook.workbook()["version"] == "Notebook/1.0"


def test_parameters_are_declared_and_used() -> None:
    """Every parameter that a query, condition or export names is declared, and every declared one is used."""
    assert workbook.used_parameters() == set(workbook.parameters())


def test_queries_ask_log_analytics_within_the_time_range() -> None:
    """Every query goes to the workspace, in the time range that the reader chose."""
    for step in workbook.steps():
        if step["type"] == 3:
            content = step["content"]
            assert (content["queryType"], content["resourceType"]) == (0, "microsoft.operationalinsights/workspaces")
            assert content["timeContextFromParameter"] == "TimeRange"


def test_exported_column_is_returned() -> None:
    """What a click hands on is a column of the step's query."""
    exports = [step["content"] for step in workbook.steps() if "exportFieldName" in step["content"]]
    assert exports
    assert [each["title"] for each in exports if not re.search(rf"\b{each['exportFieldName']}\b", each["query"])] == []


@pytest.mark.parametrize("name", ["key-proof", "key-now", "key-history", "key-heading"])
def test_a_key_binding_is_shown_once_it_is_clicked(name: str) -> None:
    """The drill-down is hidden until a key binding is chosen."""
    (step,) = [each for each in workbook.steps() if each["name"] == name]
    assert step["conditionalVisibility"] == {"parameterName": "Binding", "comparison": "isNotEqualTo", "value": ""}


def test_the_module_loads_the_workbook() -> None:
    """The Bicep deploys this file as a shared workbook of the workspace."""
    text = module("workbook")
    assert "serializedData: loadTextContent('../workbook/keydrift.workbook.json')" in text
    assert "sourceId: workspace.id" in text
    assert "kind: 'shared'" in text
