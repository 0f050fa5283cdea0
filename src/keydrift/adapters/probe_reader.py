"""What `keydrift doctor --probe` reads beside the product's own reads: by ARM and by Resource Graph, nothing but reads."""

from __future__ import annotations

from keydrift.adapters.http import JsonReader
from keydrift.adapters.listing import host_of
from keydrift.adapters.resource_graph import ResourceGraph, Scope
from keydrift.adapters.wire import Node
from keydrift.doctor.facts import SeenVault, Standing
from keydrift.facts import Absent, Read, Unread
from keydrift.resource_id import ResourceId, segment

_AUTHORIZATION = "providers/Microsoft.Authorization"
_KEY_VAULT = "providers/Microsoft.KeyVault"
_ASSIGNMENTS = "api-version=2022-04-01"
_VAULTS = "api-version=2026-02-01"
_READER = "Reader at the scope"


class ProbeReader:
    """Reads for probes. A read never raises: what fails comes back as `Unread`."""

    def __init__(self, arm: JsonReader, graph: ResourceGraph) -> None:
        self._arm, self._graph = arm, graph

    async def standing(self, subscription: str) -> Read[tuple[Standing, ...]]:
        """Every role assignment at, above and below a subscription."""
        url = f"/subscriptions/{segment(subscription)}/{_AUTHORIZATION}/roleAssignments?{_ASSIGNMENTS}"
        return _listed(await self._arm.list(url, _standing, source=f"role assignments of {subscription}", repair=_READER))

    async def vaults(self, subscription: str) -> Read[tuple[SeenVault, ...]]:
        """The key vaults of a subscription."""
        url = f"/subscriptions/{segment(subscription)}/{_KEY_VAULT}/vaults?{_VAULTS}"
        return _listed(await self._arm.list(url, _vault, source=f"key vaults of {subscription}", repair=_READER))

    async def hsm_hosts(self, subscription: str) -> Read[tuple[str, ...]]:
        """The hosts of a subscription's Managed HSMs."""
        url = f"/subscriptions/{segment(subscription)}/{_KEY_VAULT}/managedHSMs?{_VAULTS}"
        return _listed(await self._arm.list(url, _host, source=f"Managed HSMs of {subscription}", repair=_READER))

    async def keys(self, vault: ResourceId) -> Read[tuple[ResourceId, ...]]:
        """The first page of a vault's keys."""
        url = f"{vault.url_path}/keys?{_VAULTS}"
        return await self._arm.get(
            url, lambda body: tuple(each["id"].resource_id() for each in body["value"].needed()), source=f"keys of {vault}"
        )

    async def assignments_at(self, scope: ResourceId) -> Read[int]:
        """How many role assignments ARM lists at and above a scope."""
        url = f"{scope.url_path}/{_AUTHORIZATION}/roleAssignments?{_ASSIGNMENTS}&$filter=atScope()"
        read = await self._arm.list(url, _standing, source=f"role assignments at {scope}")
        return len(read) if isinstance(read, tuple) else read

    async def policies_in_graph(self, vault: ResourceId) -> Read[int]:
        """How many access policies of a vault Resource Graph tells; none where it does not know the vault."""
        # A string of KQL ends at a quotation mark that no backslash escapes; an id holds no backslash of its own
        named = str(vault).replace("'", r"\'")
        which = f"type =~ 'microsoft.keyvault/vaults' and id =~ '{named}'"
        query = f"resources | where {which} | project id, properties | order by id asc"
        scope = Scope(subscriptions=(vault.subscription_id or "",))
        read = await self._graph.rows(query, scope, source=f"{vault} in Resource Graph", repair=_READER)
        if isinstance(read, Absent | Unread):
            return read
        return sum(len(list(row["properties"]["accessPolicies"])) for row in read)


def _listed[T](read: Absent | Unread | tuple[T, ...]) -> Unread | tuple[T, ...]:
    if isinstance(read, Absent):
        return Unread(source=read.what, status=404, code="NotFound", repair="Reader on the subscription")
    return read


def _standing(body: Node) -> Standing:
    properties = body["properties"].needed()
    return Standing(
        id=body["id"].resource_id(),
        scope=properties["scope"].resource_id(),
        principal_id=properties["principalId"].required().lower(),
        of_group=properties["principalType"].lower() == "group",
    )


def _vault(body: Node) -> SeenVault:
    properties = body["properties"].needed()
    closed = (
        properties["publicNetworkAccess"].lower() == "disabled" or properties["networkAcls"]["defaultAction"].lower() == "deny"
    )
    return SeenVault(id=body["id"].resource_id(), policies=len(list(properties["accessPolicies"])), restricted=closed)


def _host(body: Node) -> str:
    return host_of(body["properties"]["hsmUri"])
