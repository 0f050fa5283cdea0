"""The workbook as a reader sees it: its steps, groups unfolded, and its queries with the parameters put in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from support.kusto import ROOT

type Item = dict[str, Any]

PATH = ROOT / "infra" / "workbook" / "keydrift.workbook.json"
# What the workbook puts in when it opens: all subscriptions, no key binding clicked
OPENED = {"Subscription": "'*'", "Subscription:label": "All", "Binding": "", "TimeRange:grain": "1h"}
_PARAMETER = re.compile(r"\{(\w+(?::\w+)?)\}")


def workbook() -> Item:
    """The workbook's JSON."""
    loaded: Item = json.loads(PATH.read_text(encoding="utf-8"))
    return loaded


def steps(items: list[Item] | None = None) -> Iterator[Item]:
    """Every step, those inside groups too."""
    for item in workbook()["items"] if items is None else items:
        yield item
        yield from steps(item["content"].get("items", []))


def parameters() -> dict[str, Item]:
    """The declared parameters by name."""
    return {each["name"]: each for step in steps() if step["type"] == 9 for each in step["content"]["parameters"]}


def raw_queries() -> dict[str, str]:
    """The queries as they stand in the file, by the name of their step or parameter."""
    found = {step["name"]: step["content"]["query"] for step in steps() if step["type"] == 3}
    return found | {f"parameter {name}": each["query"] for name, each in parameters().items() if "query" in each}


def queries(values: Mapping[str, str] = OPENED) -> dict[str, str]:
    """The queries with their parameters put in. Raises KeyError for a parameter without a value."""
    return {name: _PARAMETER.sub(lambda found: values[found[1]], query) for name, query in raw_queries().items()}


def used_parameters() -> set[str]:
    """The names of the parameters that queries and conditions use."""
    in_queries = {found.partition(":")[0] for query in raw_queries().values() for found in _PARAMETER.findall(query)}
    in_conditions = {step["conditionalVisibility"]["parameterName"] for step in steps() if "conditionalVisibility" in step}
    exported = {step["content"]["exportParameterName"] for step in steps() if "exportParameterName" in step["content"]}
    times = {step["content"]["timeContextFromParameter"] for step in steps() if "timeContextFromParameter" in step["content"]}
    return in_queries | in_conditions | exported | times
