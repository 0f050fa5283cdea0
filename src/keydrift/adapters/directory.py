"""Principals, by plain REST: Microsoft Graph for service principals and groups, ARM for user-assigned identities
(azure-facts 5.1, 5.6)."""

from __future__ import annotations

from keydrift.adapters import arm_decode
from keydrift.adapters.http import JsonReader
from keydrift.adapters.wire import Node
from keydrift.facts import Absent, Principal, Read
from keydrift.resource_id import ResourceId, segment

_SELECT = "$select=id,appId,displayName,accountEnabled"


class DirectoryReader:
    """Reads principals."""

    def __init__(self, graph: JsonReader, arm: JsonReader) -> None:
        self._graph, self._arm = graph, arm

    async def service_principal(self, app_id: str) -> Read[Principal]:
        """The service principal of an application in this tenant; `Absent` where the directory has none."""
        return await self._graph.get(
            f"/v1.0/servicePrincipals(appId='{segment(app_id)}')?{_SELECT}",
            arm_decode.service_principal,
            source=f"service principal of application {app_id}",
            repair="Microsoft Graph Application.Read.All",
        )

    async def groups(self, object_id: str) -> Read[frozenset[str]]:
        """The object ids of the groups that the principal is in, transitively."""
        read = await self._graph.list(
            f"/v1.0/servicePrincipals/{segment(object_id)}/transitiveMemberOf?$select=id&$top=999",
            _object_id,
            source=f"group memberships of {object_id}",
            repair="Microsoft Graph GroupMember.Read.All",
        )
        if isinstance(read, Absent):
            return frozenset()  # no such principal is in no group
        return frozenset(read) if isinstance(read, tuple) else read

    async def user_assigned_identity(self, identity_id: ResourceId) -> Read[Principal]:
        """A user-assigned identity's principal."""
        return await self._arm.get(
            f"{identity_id.url_path}?api-version=2023-01-31",
            arm_decode.user_assigned_identity,
            source=f"user-assigned identity {identity_id}",
            repair="Microsoft.ManagedIdentity/userAssignedIdentities/read (the role Reader holds it)",
        )


def _object_id(body: Node) -> str:
    return body["id"].required().lower()
