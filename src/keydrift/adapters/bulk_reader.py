"""A subscription read whole: one paged list for each kind of fact, whatever number of key stores it holds (azure-facts 5.1, 5.2).

Every row that concerns nothing watched is dropped while its page is decoded, so memory holds what is watched, not the tenant. A
list that fails is `Unread` as a whole, never shorter; a row that cannot be decoded is unread alone where it names its owner, and
a key store that does not tell its id is left to the read by id.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import replace
from logging import getLogger

from keydrift.adapters import arm_decode
from keydrift.adapters.authorization import assigned_to
from keydrift.adapters.http import JsonReader
from keydrift.adapters.key_vault import API_VERSION as KEY_VAULT_VERSION
from keydrift.adapters.wire import Node
from keydrift.errors import DecodeError
from keydrift.facts import (
    Absent,
    DeletedKeyStore,
    DenyAssignment,
    KeyStore,
    Principal,
    Read,
    RoleAssignment,
    RoleDefinition,
    ScheduleInstance,
    Unread,
)
from keydrift.resource_id import ResourceId, segment

log = getLogger(__name__)

_AUTHORIZATION = "Microsoft.Authorization"
_AUTHORIZATION_VERSION = "2022-04-01"
_INSTANCES = "roleAssignmentScheduleInstances"
_SCHEDULE_VERSION = "2020-10-01"
_IDENTITY_VERSION = "2023-01-31"
_HSM = "microsoft.keyvault/managedhsms"
# What `principalType` says of an assignee that is certainly no group; absent or new words may be one
_NO_GROUP = frozenset({"user", "serviceprincipal", "device"})

type Touches = Callable[[ResourceId], bool]
type Listed[T] = Unread | Mapping[str, T]


class BulkReader:
    """Lists at subscription scope. A read never raises: what fails comes back as `Unread`."""

    def __init__(self, arm: JsonReader) -> None:
        self._arm = arm

    async def key_stores(self, subscription: str, kind: str, wanted: Container[str]) -> Listed[Read[KeyStore]]:
        """The wanted vaults or Managed HSMs by normalised id; `kind` is their (lower-case) resource type."""
        word, decode = _kind(kind)

        def keep(body: Node) -> tuple[str, Read[KeyStore]] | None:
            try:
                store_id = body["id"].resource_id()
            except DecodeError as error:
                # It hides no other: a key store that the list does not show is read by its own id
                log.warning("a key store's id could not be read", extra={"subscription": subscription, "reason": str(error)})
                return None
            return (store_id.key, _decoded(body, decode, str(store_id))) if store_id.key in wanted else None

        url = _url(subscription, f"Microsoft.KeyVault/{word}", KEY_VAULT_VERSION)
        return _mapping(await self._list(url, keep, f"{word} of subscription {subscription}", f"Microsoft.KeyVault/{word}/read"))

    async def deleted_key_stores(self, subscription: str, kind: str, wanted: Container[str]) -> Listed[DeletedKeyStore]:
        """The wanted key stores that are soft-deleted, by the normalised id that they had."""
        word = "deletedManagedHSMs" if kind == _HSM else "deletedVaults"

        def keep(body: Node) -> tuple[str, DeletedKeyStore] | None:
            deleted = arm_decode.deleted_key_store(body)
            return (deleted.id.key, deleted) if deleted.id.key in wanted else None

        url = _url(subscription, f"Microsoft.KeyVault/{word}", KEY_VAULT_VERSION)
        source = f"soft-deleted key stores of subscription {subscription}"
        return _mapping(await self._list(url, keep, source, f"Microsoft.KeyVault/{word}/read"))

    async def role_assignments(
        self, subscription: str, holders: Container[str], touches: Touches
    ) -> Unread | tuple[RoleAssignment, ...]:
        """The assignments of these holders, and of whoever may be a group of theirs, where their scope touches what is watched.

        Without a filter the list shows what stands at, above and below the subscription.
        """

        def keep(body: Node) -> RoleAssignment | None:
            return arm_decode.role_assignment(body) if _concerns(body, holders, touches) else None

        source = f"role assignments of subscription {subscription}"
        return await self._authorization(subscription, "roleAssignments", keep, source)

    async def assigned_to(self, subscription: str, principal_id: str, touches: Touches) -> Unread | tuple[RoleAssignment, ...]:
        """The assignments that reach one principal, its groups expanded by Azure, where their scope touches what is watched."""

        def keep(body: Node) -> RoleAssignment | None:
            return arm_decode.role_assignment(body) if _stands(body, touches) else None

        source = f"role assignments of {principal_id} in subscription {subscription}"
        return await self._authorization(subscription, "roleAssignments", keep, source, _assigned_to(principal_id))

    async def schedule_instances(
        self, subscription: str, holders: Container[str], touches: Touches
    ) -> Unread | tuple[ScheduleInstance, ...]:
        """The active schedule instances of these holders, and of whoever may be a group of theirs, likewise."""

        def keep(body: Node) -> ScheduleInstance | None:
            return arm_decode.schedule_instance(body) if _concerns(body, holders, touches) else None

        return await self._instances(subscription, keep, f"role assignment schedule instances of subscription {subscription}")

    async def instances_of(self, subscription: str, principal_id: str, touches: Touches) -> Unread | tuple[ScheduleInstance, ...]:
        """The active schedule instances that reach one principal, its groups expanded by Azure, likewise."""

        def keep(body: Node) -> ScheduleInstance | None:
            return arm_decode.schedule_instance(body) if _stands(body, touches) else None

        source = f"role assignment schedule instances of {principal_id} in subscription {subscription}"
        return await self._instances(subscription, keep, source, _assigned_to(principal_id))

    async def role_definitions(self, subscription: str, wanted: Container[str]) -> Listed[RoleDefinition]:
        """The wanted role definitions by guid. Those that can be assigned only below the subscription are listed too."""

        def keep(body: Node) -> tuple[str, RoleDefinition] | None:
            guid = arm_decode.guid_of(body["id"].text() or body["name"].required())
            return (guid, arm_decode.role_definition(body)) if guid in wanted else None

        source = f"role definitions of subscription {subscription}"
        read = await self._authorization(subscription, "roleDefinitions", keep, source, "&$filter=atScopeAndBelow()")
        return _mapping(read)

    async def deny_assignments(self, subscription: str, touches: Touches) -> Unread | tuple[DenyAssignment, ...]:
        """The deny assignments whose scope touches what is watched."""

        def keep(body: Node) -> DenyAssignment | None:
            deny = arm_decode.deny_assignment(body)
            return deny if touches(deny.scope) else None

        source = f"deny assignments of subscription {subscription}"
        return await self._authorization(subscription, "denyAssignments", keep, source)

    async def user_assigned_identities(self, subscription: str, wanted: Container[str]) -> Listed[Read[Principal]]:
        """The wanted user-assigned identities by normalised id."""

        def keep(body: Node) -> tuple[str, Read[Principal]] | None:
            identity = body["id"].resource_id()
            if identity.key not in wanted:
                return None
            return identity.key, _decoded(body, arm_decode.user_assigned_identity, f"user-assigned identity {identity}")

        word = "Microsoft.ManagedIdentity/userAssignedIdentities"
        source = f"user-assigned identities of subscription {subscription}"
        return _mapping(await self._list(_url(subscription, word, _IDENTITY_VERSION), keep, source, f"{word}/read"))

    async def _instances(
        self, subscription: str, keep: Callable[[Node], ScheduleInstance | None], source: str, query: str = ""
    ) -> Unread | tuple[ScheduleInstance, ...]:
        read = await self._authorization(subscription, _INSTANCES, keep, source, query)
        if isinstance(read, Unread) and read.code == "AadPremiumLicenseRequired":
            return replace(read, repair="nothing: without Microsoft Entra ID P2 no role is assigned for a time in this tenant")
        return read

    async def _authorization[T](
        self, subscription: str, kind: str, keep: Callable[[Node], T | None], source: str, query: str = ""
    ) -> Unread | tuple[T, ...]:
        version = _SCHEDULE_VERSION if kind == _INSTANCES else _AUTHORIZATION_VERSION
        url = _url(subscription, f"{_AUTHORIZATION}/{kind}", version) + query
        return await self._list(url, keep, source, f"{_AUTHORIZATION}/{kind}/read")

    async def _list[T](self, url: str, keep: Callable[[Node], T | None], source: str, right: str) -> Unread | tuple[T, ...]:
        read = await self._arm.list(url, keep, source=source, repair=f"{right} (the role Reader holds it) on the subscription")
        match read:
            case Unread():
                return read
            case Absent():
                # Nothing was listed, which is not the same as an empty list
                return Unread(source=source, status=404, code="ScopeNotFound", repair="Reader on the subscription")
            case _:
                return tuple(each for each in read if each is not None)


def _kind(kind: str) -> tuple[str, Callable[[Node], KeyStore]]:
    return ("managedHSMs", arm_decode.managed_hsm) if kind == _HSM else ("vaults", arm_decode.key_vault)


def _url(subscription: str, kind: str, version: str) -> str:
    return f"/subscriptions/{segment(subscription)}/providers/{kind}?api-version={version}"


def _assigned_to(principal_id: str) -> str:
    return f"&$filter={assigned_to(principal_id)}"


def _concerns(body: Node, holders: Container[str], touches: Touches) -> bool:
    """Whether an assignment may reach a holder and stands where it matters; the cheaper question first."""
    properties = body["properties"]
    if properties["principalId"].required().lower() not in holders and properties["principalType"].lower() in _NO_GROUP:
        return False
    return _stands(body, touches)


def _stands(body: Node, touches: Touches) -> bool:
    return touches(body["properties"]["scope"].resource_id())


def _mapping[T](read: Unread | tuple[tuple[str, T], ...]) -> Listed[T]:
    return read if isinstance(read, Unread) else dict(read)


def _decoded[T](body: Node, decode: Callable[[Node], T], source: str) -> T | Unread:
    """A row, or why it could not be decoded: a strange neighbour must not hide the others."""
    try:
        return decode(body)
    except DecodeError as error:
        code, repair = f"UnexpectedShape at {error.path}", f"report this resource's shape: {error.problem}"
        return Unread(source=source, status=200, code=code, repair=repair)
