"""The Bicep's resources beside Azure's published resource types, where those are at hand."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from support.bicep import INFRA, Template, parse, read, templates
from support.bicep_types import ResourceTypes
from support.corpus import corpus


@cache
def types() -> ResourceTypes:
    return ResourceTypes(corpus() / "bicep-types")


# Only preview versions of the API know near-real-time rules, and none of these is at hand: a scheduled rule has all their members
_NEAR_REAL_TIME = INFRA / "modules" / "sentinel-nrt.bicep"


def published(path: Path) -> Template:
    """A template as it is, near-real-time rules as the scheduled ones that they would be otherwise."""
    if path != _NEAR_REAL_TIME:
        return read(path)
    source = path.read_bytes()
    assert source.count(b"@2025-01-01-preview'") == source.count(b"kind: 'NRT'")
    return parse(path, source.replace(b"@2025-01-01-preview'", b"@2025-09-01'").replace(b"kind: 'NRT'", b"kind: 'Scheduled'"))


@pytest.mark.parametrize("path", templates(), ids=lambda path: path.relative_to(INFRA).as_posix())
def test_resources_are_as_azure_publishes_them(path: Path) -> None:
    """Every resource has a type and version that exist, no unknown or read-only member, and none missing that is required."""
    assert types().wrong(published(path)) == []


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
