"""Settings to what reads Azure: enough for a scan, and the part of the composition that the monitor shares with it.

Importing it does no I/O; adapters are imported where they are used, since import time is cold start.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from keydrift.facts import Principal
from keydrift.ports import Clock
from keydrift.settings import Settings

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential
    from azure.core.pipeline.transport import AioHttpTransport

    from keydrift.adapters.cloud import Cloud
    from keydrift.adapters.http import ClockTransport
    from keydrift.bulk.collector import BulkCollector
    from keydrift.collect import Collector
    from keydrift.declared import Declarations
    from keydrift.judgement import Policy
    from keydrift.ports import Consumers

# Where `function_app.py` and `src` stand: a function app's working directory is the host's
_APP_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What reads Azure: enough for a scan."""

    cloud: Cloud
    credential: AsyncTokenCredential
    transport: ClockTransport
    consumers: Consumers
    hearsay: Consumers
    collector: Collector
    bulk: BulkCollector
    policy: Policy

    async def close(self) -> None:
        """Close the connections."""
        await self.credential.close()
        await self.transport.shut()


def reading(settings: Settings, clock: Clock) -> Reading:
    """Compose what reads Azure. Needs a running event loop."""
    from keydrift.adapters.arm_inventory import ArmInventory  # imported where used: import time is cold start
    from keydrift.adapters.authorization import AuthorizationReader
    from keydrift.adapters.bulk_reader import BulkReader
    from keydrift.adapters.cloud import cloud_named
    from keydrift.adapters.directory import DirectoryReader
    from keydrift.adapters.graph_inventory import GraphInventory
    from keydrift.adapters.http import ClockTransport, JsonReader
    from keydrift.adapters.key_vault import KeyVaultReader
    from keydrift.adapters.managed_hsm import ManagedHsmReader
    from keydrift.adapters.pacing import PacedTransport, ReadBudget
    from keydrift.adapters.resource_graph import ResourceGraph
    from keydrift.alerts.flapping import Damping
    from keydrift.alerts.lifecycle import Lifecycle
    from keydrift.bulk.collector import BulkCollector
    from keydrift.collect import Collector, Readers
    from keydrift.inventory import TagNames
    from keydrift.judgement import Policy

    # First: where the file is wrong, nothing has been opened yet that would have to be closed
    by_hand = declarations(settings)
    cloud = cloud_named(settings.cloud)
    transport = ClockTransport(clock)
    identity = credential(settings, cloud)
    manager, graph_host = f"https://{cloud.resource_manager}", f"https://{cloud.graph}"
    arm = JsonReader(manager, manager, identity, transport, "Reader at the scope")
    graph = JsonReader(graph_host, graph_host, identity, transport, "Microsoft Graph Application.Read.All")
    app_id = settings.backup_app_id or cloud.backup_app_id
    declared = {}
    if settings.backup_object_id:
        declared[app_id] = Principal(object_id=settings.backup_object_id, app_id=app_id, name=cloud.backup_app_name)
    # What reads in bulk keeps to ARM's published budget; what an event asks for does not wait behind it
    paced = PacedTransport(transport, ReadBudget(clock))
    paced_arm = JsonReader(manager, manager, identity, paced, "Reader at the scope")
    hsms = ManagedHsmReader(cloud, identity, transport)

    def readers(through: AioHttpTransport, manager_reader: JsonReader) -> Readers:
        return Readers(
            key_stores=KeyVaultReader(cloud, identity, through),
            grants=AuthorizationReader(manager_reader),
            managed_hsms=hsms,
            directory=DirectoryReader(graph, manager_reader),
        )

    policy = Policy(
        backup_app_id=app_id,
        key_expiry=settings.key_expiry_horizon,
        grant_expiry=settings.grant_expiry_horizon,
        tenant_id=settings.tenant_id,
        declared=declared,
        declarations=by_hand,
        lifecycle=Lifecycle(
            damping=Damping(count=settings.flap_count, window=settings.flap_window), remind_after=settings.remind_after
        ),
        tags=TagNames(owner=settings.owner_tag, environment=settings.environment_tag),
    )
    return Reading(
        cloud=cloud,
        credential=identity,
        transport=transport,
        consumers=ArmInventory(paced_arm),
        hearsay=GraphInventory(paced_arm, ResourceGraph(paced_arm, clock)),
        collector=Collector(readers(transport, arm), clock),
        bulk=BulkCollector(readers(paced, paced_arm), BulkReader(paced_arm), clock),
        policy=policy,
    )


def declarations(settings: Settings) -> Declarations:
    """What the watchlist file declares; nothing where none is set. Raises ConfigError."""
    from keydrift.declared import NOTHING_DECLARED

    if settings.watchlist is None:
        return NOTHING_DECLARED
    from keydrift.adapters.watchlist_file import read_watchlist

    return read_watchlist(_APP_ROOT / settings.watchlist, settings.watchlist)


def credential(settings: Settings, cloud: Cloud) -> AsyncTokenCredential:
    """The managed identity where the platform offers one, else whoever is signed in on this machine."""
    from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential

    if "IDENTITY_ENDPOINT" in os.environ:
        return ManagedIdentityCredential(client_id=settings.identity_client_id)
    return DefaultAzureCredential(authority=cloud.authority)
