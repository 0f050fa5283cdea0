"""The Bicep's resources beside Azure's published resource types, where those are at hand."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from support.bicep import INFRA, parse, read, templates
from support.bicep_types import ResourceTypes
from support.corpus import corpus


@cache
def types() -> ResourceTypes:
    return ResourceTypes(corpus() / "bicep-types")


@pytest.mark.parametrize("path", templates(), ids=lambda path: path.relative_to(INFRA).as_posix())
def test_resources_are_as_azure_publishes_them(path: Path) -> None:
    """Every resource has a type and version that exist, no unknown or read-only member, and none missing that is required."""
    assert types().wrong(read(path)) == []


def as_bicep(resource: dict[str, Any]) -> str:
    """A resource of an ARM template whose values are left open, as far as its type goes."""

    def value(of: object, deep: int) -> str:
        if isinstance(of, dict):
            inside = "".join(f"{'  ' * deep}{name}: {value(each, deep + 1)}\n" for name, each in of.items())
            return f"{{\n{inside}{'  ' * (deep - 1)}}}"
        return json.dumps(of) if isinstance(of, bool) else "open" if str(of).startswith("[") else f"'{of}'"

    body = {name: each for name, each in resource.items() if name not in ("type", "apiVersion", "copy", "scope")}
    return f"resource r '{resource['type']}@{resource['apiVersion']}' = {value(body, 1)}\n"


# No version that knows near-real-time rules is at hand: a scheduled rule has all their members and more
_AS_SCHEDULED = (
    ("@2025-01-01-preview'", "@2025-09-01'"),
    ("kind: 'NRT'", "kind: 'Scheduled'"),
)


@pytest.mark.parametrize("change", [("displayName:", "display:"), None])
def test_a_near_real_time_rule_has_the_members_of_a_scheduled_one(change: tuple[str, str] | None) -> None:
    """The rules' ARM template has no member that a scheduled rule has not, and lacks none that it must have."""
    (resource,) = json.loads((INFRA / "sentinel-nrt.json").read_text(encoding="utf-8"))["resources"]
    source = as_bicep(resource)
    for old, new in (*_AS_SCHEDULED, *([change] if change else [])):
        assert source.count(old) == 1
        source = source.replace(old, new)
    wrong = types().wrong(parse(INFRA / "x.bicep", source.encode()))
    # What only a schedule needs is missing in a rule without one
    missing = {each for each in wrong if "is missing" in each and ("query" in each or "trigger" in each)}
    others = [each for each in wrong if each not in missing]
    assert bool(others) is bool(change), wrong


TOPIC = """resource t 'Microsoft.EventGrid/systemTopics@2025-02-15' = {
  name: 'n'
  location: 'l'
  properties: {
    source: 's'
  }
}
"""
SUBSCRIPTION = """resource e 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2025-02-15' = {
  name: 'n'
  properties: {
    destination: {
      endpointType: 'StorageQueue'
    }
  }
}
"""


@pytest.mark.parametrize(
    ("source", "change", "complaint"),
    [
        (TOPIC, ("2025-02-15", "2025-02-16"), "t: no type Microsoft.EventGrid/systemTopics@2025-02-16"),
        (TOPIC, ("source:", "sauce:"), "t.properties: no member sauce"),
        (TOPIC, ("  location: 'l'\n", ""), "t: location is missing"),
        (TOPIC, ("source: 's'", "metricResourceId: 's'"), "t.properties: metricResourceId is not for writing"),
        (SUBSCRIPTION, ("'StorageQueue'", "'Pigeon'"), "e.properties.destination: endpointType `Pigeon` is none of"),
    ],
)
def test_a_wrong_resource_is_seen(source: str, change: tuple[str, str], complaint: str) -> None:
    """Each kind of mistake is found, in a copy of a resource that has it."""
    assert types().wrong(parse(INFRA / "x.bicep", source.encode())) == []
    found = types().wrong(parse(INFRA / "x.bicep", source.replace(*change).encode()))
    assert len(found) == 1
    assert found[0].startswith(complaint)
