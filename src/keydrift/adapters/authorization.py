"""Azure RBAC, by plain REST: the typed client drops the conditions of role definitions (azure-facts 4.1, 5.2)."""

from __future__ import annotations

from urllib.parse import quote

from keydrift.adapters import arm_decode
from keydrift.adapters.http import JsonReader
from keydrift.facts import Absent, DenyAssignment, Read, RoleAssignment, RoleDefinition, ScheduleInstance, Unread
from keydrift.resource_id import ResourceId, segment

_AUTHORIZATION = "providers/Microsoft.Authorization"
_VERSION = "api-version=2022-04-01"
_SCHEDULE_VERSION = "api-version=2020-10-01"


class AuthorizationReader:
    """Reads what decides access under Azure RBAC."""

    def __init__(self, arm: JsonReader) -> None:
        self._arm = arm

    async def role_assignments(self, store_id: ResourceId, principal_id: str) -> Read[tuple[RoleAssignment, ...]]:
        """The assignments that reach the principal at, above and below the key store, groups expanded by Azure.

        `assignedTo` without `atScope()` lists what stands below the scope too, so one read serves all keys of the store, and no
        key-level URL is needed, which ARM may not know (azure-facts 8.2, Q5).
        """
        return _listed(
            await self._arm.list(
                f"{store_id.url_path}/{_AUTHORIZATION}/roleAssignments?{_VERSION}&$filter={assigned_to(principal_id)}",
                arm_decode.role_assignment,
                source=f"role assignments of {principal_id} at {store_id}",
                repair="Microsoft.Authorization/roleAssignments/read (the role Reader holds it)",
            ),
            f"role assignments at {store_id}",
        )

    async def schedule_instances(self, store_id: ResourceId, principal_id: str) -> Read[tuple[ScheduleInstance, ...]]:
        """The active schedule instances of the assignments that reach the principal: until when each is (azure-facts 5.1).

        A tenant without the licence for Privileged Identity Management answers 400 `AadPremiumLicenseRequired`.
        """
        source = f"role assignment schedule instances of {principal_id} at {store_id}"
        read = _listed(
            await self._arm.list(
                f"{store_id.url_path}/{_AUTHORIZATION}/roleAssignmentScheduleInstances?{_SCHEDULE_VERSION}"
                f"&$filter={assigned_to(principal_id)}",
                arm_decode.schedule_instance,
                source=source,
                repair="Microsoft.Authorization/roleAssignmentScheduleInstances/read (the role Reader holds it)",
            ),
            source,
        )
        if isinstance(read, Unread) and read.code == "AadPremiumLicenseRequired":
            # Not a failed read: without Microsoft Entra ID P2 no role can be assigned for a time in this tenant
            return ()
        return read

    async def role_definition(self, store_id: ResourceId, definition: str) -> Read[RoleDefinition]:
        """A role definition by its guid, asked for where the store is."""
        scope = f"/subscriptions/{segment(store_id.subscription_id or '')}"
        return await self._arm.get(
            f"{scope}/{_AUTHORIZATION}/roleDefinitions/{segment(definition)}?{_VERSION}",
            arm_decode.role_definition,
            source=f"role definition {definition}",
            repair="Microsoft.Authorization/roleDefinitions/read (the role Reader holds it)",
        )

    async def deny_assignments(self, store_id: ResourceId) -> Read[tuple[DenyAssignment, ...]]:
        """The deny assignments at, above and below the key store."""
        return _listed(
            await self._arm.list(
                f"{store_id.url_path}/{_AUTHORIZATION}/denyAssignments?{_VERSION}",
                arm_decode.deny_assignment,
                source=f"deny assignments at {store_id}",
                repair="Microsoft.Authorization/denyAssignments/read (the role Reader holds it)",
            ),
            f"deny assignments at {store_id}",
        )


def assigned_to(principal_id: str) -> str:
    """The filter of one principal's assignments. OData doubles a quotation mark inside a string."""
    quoted = principal_id.replace("'", "''")
    return quote(f"assignedTo('{quoted}')", safe="()'")


def _listed[T](read: Absent | Unread | tuple[T, ...], source: str) -> Unread | tuple[T, ...]:
    # 404 for a list means that its scope is gone: nothing was listed, which is not the same as an empty list
    if isinstance(read, Absent):
        return Unread(source=source, status=404, code="ScopeNotFound", repair="nothing: the key store itself is gone")
    return read
