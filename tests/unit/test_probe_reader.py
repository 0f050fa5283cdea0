"""What the probes ask of Resource Graph: a name in a query is data there."""

from __future__ import annotations

from typing import Any, cast

from keydrift.adapters.http import JsonReader
from keydrift.adapters.probe_reader import ProbeReader
from keydrift.adapters.resource_graph import ResourceGraph
from keydrift.resource_id import ResourceId
from support.builders import GROUP


class Listening:
    """Keeps the queries that it is asked."""

    def __init__(self) -> None:
        self.queries: list[str] = []

    async def rows(self, query: str, *_scope: Any, **_source: Any) -> tuple[()]:
        self.queries.append(query)
        return ()


async def test_an_id_ends_no_string_of_a_query() -> None:
    """A quotation mark in a resource's name is escaped, so that what follows it is no KQL."""
    graph = Listening()
    reader = ProbeReader(cast(JsonReader, None), cast(ResourceGraph, graph))
    await reader.policies_in_graph(ResourceId.parse(f"{GROUP}/providers/Microsoft.KeyVault/vaults/x' or 1==1 | union y //"))
    (query,) = graph.queries
    assert r"vaults/x\' or 1==1 | union y" in query
    assert query.count("'") - query.count(r"\'") == 4
