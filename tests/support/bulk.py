"""The two ways of reading, side by side, over the same tenant."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

from azure.identity.aio import ManagedIdentityCredential

from keydrift.adapters.arm_inventory import ArmInventory
from keydrift.adapters.authorization import AuthorizationReader
from keydrift.adapters.bulk_reader import BulkReader
from keydrift.adapters.cloud import cloud_named
from keydrift.adapters.directory import DirectoryReader
from keydrift.adapters.http import ClockTransport, JsonReader
from keydrift.adapters.key_vault import KeyVaultReader
from keydrift.adapters.managed_hsm import ManagedHsmReader
from keydrift.adapters.pacing import PacedTransport, ReadBudget
from keydrift.bulk.collector import BulkCollector
from keydrift.bulk.lists import Spread
from keydrift.collect import Collector, Known, Readers
from keydrift.facts import Facts
from keydrift.model import KeyBinding
from keydrift.ports import Clock
from support.queues_memory import ManualClock


@dataclass(frozen=True, slots=True, kw_only=True)
class BothWays:
    """A collector for one key store at a time and one for all, and the inventory."""

    inventory: ArmInventory
    single: Collector
    bulk: BulkCollector

    async def at_once(self, bindings: Sequence[KeyBinding], known: Known, spread: Spread | None = None) -> dict[str, Facts]:
        """What the bulk collector yields, by host."""
        async with aclosing(self.bulk.collect_all(bindings, known, spread=spread)) as found:
            return {host: facts async for host, facts in found}


@asynccontextmanager
async def both_ways(clock: Clock | None = None) -> AsyncIterator[BothWays]:
    """Compose both over the environment's Azure, the bulk one paced."""
    time, cloud = clock or ManualClock(), cloud_named("AzureCloud")
    transport, credential = ClockTransport(time), ManagedIdentityCredential()
    paced = PacedTransport(transport, ReadBudget(time))
    manager, graph_host = f"https://{cloud.resource_manager}", f"https://{cloud.graph}"
    graph = JsonReader(graph_host, graph_host, credential, transport, "Graph")

    def readers(arm_transport: object) -> tuple[JsonReader, Readers]:
        arm = JsonReader(manager, manager, credential, arm_transport, "Reader")
        found = Readers(
            key_stores=KeyVaultReader(cloud, credential, arm_transport),
            grants=AuthorizationReader(arm),
            managed_hsms=ManagedHsmReader(cloud, credential, transport),
            directory=DirectoryReader(graph, arm),
        )
        return arm, found

    plain_arm, plain = readers(transport)
    paced_arm, pacing = readers(paced)
    try:
        yield BothWays(
            inventory=ArmInventory(plain_arm),
            single=Collector(plain, time),
            bulk=BulkCollector(pacing, BulkReader(paced_arm), time),
        )
    finally:
        await credential.close()
        await transport.shut()
