"""The rules as they are shipped: Sentinel's YAML, and what the Bicep of Azure Monitor says of the same queries."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from support.kusto import ROOT, texts

type Rule = dict[str, Any]

SENTINEL = ROOT / "infra" / "sentinel"
MODULES = ROOT / "infra" / "modules"
NAMES = sorted(texts("rules"))
_PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")
_MONITOR = re.compile(r"^  \{\n    name: 'keydrift-([\w-]+)'\n(.*?)^  \}", re.MULTILINE | re.DOTALL)


def sentinel(name: str) -> Rule:
    """A rule's YAML."""
    loaded: Rule = yaml.safe_load((SENTINEL / f"{name}.yaml").read_text(encoding="utf-8"))
    return loaded


def module(name: str) -> str:
    """The text of a Bicep module."""
    return Path(MODULES / f"{name}.bicep").read_text(encoding="utf-8")


def monitor() -> dict[str, str]:
    """The entries of Azure Monitor's rules in `rules.bicep`, by name, as text."""
    return dict(_MONITOR.findall(module("rules")))


def dimensions(name: str) -> list[str]:
    """The columns that Azure Monitor splits a rule's alerts by."""
    found = re.search(r"dimensions: \[(.*?)\]", monitor()[name], re.DOTALL)
    assert found is not None
    columns = dict(re.findall(r"^var (\w+) = \{\n  name: '(\w+)'\n  operator: 'Include'$", module("rules"), re.MULTILINE))
    return [columns[each] for each in found[1].split()]


def columns_used(name: str) -> set[str]:
    """Every column of its query's result that a rule names."""
    rule = sentinel(name)
    override = rule["alertDetailsOverride"]
    mapped = {field["columnName"] for each in rule["entityMappings"] for field in each["fieldMappings"]}
    dynamic = {each["value"] for each in override["alertDynamicProperties"]}
    shown = {each for key, text in override.items() if key.endswith("Format") for each in _PLACEHOLDER.findall(text)}
    named = {text for key, text in override.items() if key.endswith("ColumnName")}
    return mapped | dynamic | shown | named | set(rule["customDetails"].values()) | set(dimensions(name))
