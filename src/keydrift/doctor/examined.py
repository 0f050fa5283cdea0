"""The monitor as the doctor looks at it: its settings, its ports, and what the doctor reads beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from keydrift.doctor.events import EventReads
from keydrift.doctor.facts import Caller, SeenVault, Standing
from keydrift.doctor.reads import SampleReads
from keydrift.doctor.settings import Surroundings
from keydrift.facts import Read
from keydrift.ports import Clock, Consumers, Directory, EntityStore, Grants, ManagedHsms, RowSink
from keydrift.resource_id import ResourceId
from keydrift.settings import Settings


class Lists(Protocol):
    """Lists that are looked through for something to probe with. A read never raises."""

    async def standing(self, subscription: str) -> Read[tuple[Standing, ...]]:
        """Return every role assignment at, above and below a subscription."""
        ...

    async def vaults(self, subscription: str) -> Read[tuple[SeenVault, ...]]:
        """Return the key vaults of a subscription."""
        ...

    async def keys(self, vault: ResourceId) -> Read[tuple[ResourceId, ...]]:
        """Return the first page of a vault's keys."""
        ...


class Questions(Protocol):
    """What is asked of one thing. A read never raises."""

    async def assignments_at(self, scope: ResourceId) -> Read[int]:
        """Return how many role assignments ARM lists at and above a scope."""
        ...

    async def policies_in_graph(self, vault: ResourceId) -> Read[int]:
        """Return how many access policies of a vault Resource Graph tells."""
        ...

    async def hsm_hosts(self, subscription: str) -> Read[tuple[str, ...]]:
        """Return the hosts of a subscription's Managed HSMs."""
        ...


class Probes(Lists, Questions, Protocol):
    """Everything that probes read, beside the product's own readers."""


class Reads(EventReads, SampleReads, Protocol):
    """What the doctor reads that the monitor does not. A read never raises: what fails comes back as `Unread`."""

    async def caller(self, service: str) -> Read[Caller]:
        """Get a token for one of the services, and tell whom it is for."""
        ...


class TriedQueue(Protocol):
    """A queue that can be tried without a trace."""

    async def try_out(self) -> None:
        """Add a message that nobody receives, and delete it. Raises `StateError`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """The monitor as it is composed, and what stands around it."""

    settings: Settings
    surroundings: Surroundings
    app_id: str
    app_name: str
    clock: Clock
    reads: Reads
    consumers: Consumers
    managed_hsms: ManagedHsms
    hsm_suffix: str
    grants: Grants
    probes: Probes
    directory: Directory
    entities: EntityStore
    queue: TriedQueue
    sink: RowSink
