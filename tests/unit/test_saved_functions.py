"""The saved functions and hunting queries: what a workspace is given, and that nothing is left out."""

from __future__ import annotations

import re

import pytest

from support.kusto import saved_functions, texts
from support.rules import module

_ENTRY = re.compile(
    r"^  \{\n    name: '(?P<name>\w+)'\n    parameters: '(?P<parameters>.*)'\n    query: loadTextContent\('(?P<path>[^']+)'\)\n",
    re.MULTILINE,
)
_HUNTING = re.compile(
    r"^    name: '(?P<name>[\w-]+)'\n    title: .*\n    tactics: .*\n    query: loadTextContent\('(?P<path>[^']+)'\)",
    re.MULTILINE,
)
# https://learn.microsoft.com/azure/azure-monitor/logs/functions: the types of a function's parameters
_PARAMETER = re.compile(r"\w+:(string|int|long|real|bool|datetime|timespan|dynamic)=.+")
FUNCTIONS = saved_functions()


def test_the_module_saves_every_function() -> None:
    """The Bicep saves each function under its file's name, with its text and the parameters that its header says."""
    entries = {found["name"]: found for found in _ENTRY.finditer(module("queries"))}
    assert list(entries) == sorted(FUNCTIONS)
    assert {name: found["path"] for name, found in entries.items()} == {
        name: f"../kql/functions/{name}.kql" for name in FUNCTIONS
    }
    assert {name: found["parameters"].replace("\\'", "'") for name, found in entries.items()} == {
        name: each.parameters for name, each in FUNCTIONS.items()
    }


def test_the_module_saves_every_hunting_query() -> None:
    """The Bicep saves each hunting query."""
    found = {each["name"]: each["path"] for each in _HUNTING.finditer(module("queries"))}
    assert found == {name: f"../kql/hunting/{name}.kql" for name in texts("hunting")}


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_function_says_what_it_answers(name: str) -> None:
    """A function begins with what it answers, its parameters and what it returns; every parameter has a default."""
    lines = FUNCTIONS[name].body.splitlines()
    assert re.fullmatch(r"// .+[?.]", lines[0])
    assert lines[1].startswith("// Parameters: ")
    assert lines[2].startswith("// Returns ")
    declared = FUNCTIONS[name].parameters
    assert [each for each in declared.split(",") if each and not _PARAMETER.fullmatch(each)] == []


@pytest.mark.parametrize(
    "text", [each.body for each in FUNCTIONS.values()] + [*texts("rules").values(), *texts("hunting").values()]
)
def test_every_text_takes_a_repeated_row_for_one(text: str) -> None:
    """A row that was delivered twice counts once: whatever reads alerts or health names the id that tells them apart."""
    for table, key in (("KeyDriftAlerts_CL", "AlertId"), ("KeyDriftHealth_CL", "HealthId")):
        if table in text and "max(TimeGenerated)\n| where isnull" not in text:
            assert re.search(rf"summarize arg_max\(TimeGenerated, \*\) by {key}|by EventId, KeyStoreId", text)
