"""ARM's and the Managed HSM's JSON to facts. Pure; every function raises DecodeError with the JSON path.

Shapes: azure-facts 4.1, 4.2, 5.2, 5.3, 5.5 and the recorded bodies in the public corpus.
"""

from __future__ import annotations

from keydrift.adapters.wire import Node
from keydrift.facts import (
    AccessPolicy,
    DeletedKeyStore,
    DenyAssignment,
    HsmRoleAssignment,
    KeyObject,
    KeyVault,
    ManagedHsm,
    NetworkRules,
    PermissionBlock,
    Principal,
    RoleAssignment,
    RoleDefinition,
    ScheduleInstance,
)
from keydrift.key_uri import KeyUri


def key_vault(body: Node) -> KeyVault:
    """`Microsoft.KeyVault/vaults`."""
    properties = body["properties"].needed()
    return KeyVault(
        id=body["id"].resource_id(),
        location=body["location"].text() or "",
        tenant_id=properties["tenantId"].required().lower(),
        rbac=properties["enableRbacAuthorization"].flag(),
        access_policies=tuple(_access_policy(each) for each in properties["accessPolicies"]),
        soft_delete=properties["enableSoftDelete"].flag(),
        purge_protection=properties["enablePurgeProtection"].flag(),
        network=_network(properties),
    )


def managed_hsm(body: Node) -> ManagedHsm:
    """`Microsoft.KeyVault/managedHSMs`."""
    properties = body["properties"].needed()
    return ManagedHsm(
        id=body["id"].resource_id(),
        location=body["location"].text() or "",
        tenant_id=properties["tenantId"].lower() or "",
        purge_protection=properties["enablePurgeProtection"].flag(),
        network=_network(properties),
    )


def _access_policy(entry: Node) -> AccessPolicy:
    permissions = entry["permissions"]
    return AccessPolicy(
        object_id=entry["objectId"].required().lower(),
        tenant_id=entry["tenantId"].lower() or "",
        application_id=entry["applicationId"].lower() or None,
        keys=permissions["keys"].words(),
        secrets=permissions["secrets"].words(),
    )


def _network(properties: Node) -> NetworkRules:
    acls = properties["networkAcls"]
    return NetworkRules(
        public_network_access=properties["publicNetworkAccess"].lower() or "enabled",
        default_action=acls["defaultAction"].lower() or "allow",
        bypass=acls["bypass"].lower() or "azureservices",
    )


def deleted_key_store(body: Node) -> DeletedKeyStore:
    """`deletedVaults` and `deletedManagedHSMs`: the id of the store that was deleted, and its purge date."""
    properties = body["properties"]
    origin = properties["vaultId"] if properties["vaultId"].present else properties["mhsmId"]
    return DeletedKeyStore(
        id=origin.resource_id(),
        deleted_at=properties["deletionDate"].time(),
        purge_at=properties["scheduledPurgeDate"].time(),
    )


def arm_object(body: Node, uri: KeyUri) -> KeyObject:
    """`vaults/keys`, `vaults/keys/versions` and `vaults/secrets` on the ARM plane; times are epoch seconds."""
    properties = body["properties"].needed()
    attributes = properties["attributes"]
    shown = properties["keyUriWithVersion" if uri.kind == "keys" else "secretUriWithVersion"]
    return KeyObject(
        uri=shown.key_uri() if shown.text() else uri,
        enabled=attributes["enabled"].flag() if attributes["enabled"].present else True,
        not_before=attributes["nbf"].epoch(),
        expires=attributes["exp"].epoch(),
        key_type=properties["kty"].text(),
        key_size=properties["keySize"].number(),
    )


def data_plane_key(body: Node, uri: KeyUri) -> KeyObject:
    """A Managed HSM's `GET /keys/{name}`: a JSON web key whose modulus tells the size."""
    key, attributes = body["key"].needed(), body["attributes"]
    kid = key["kid"]
    modulus = key["n"].text()
    return KeyObject(
        uri=kid.key_uri() if kid.text() else uri,
        enabled=attributes["enabled"].flag() if attributes["enabled"].present else True,
        not_before=attributes["nbf"].epoch(),
        expires=attributes["exp"].epoch(),
        key_type=key["kty"].text(),
        key_size=_bits(modulus),
    )


def _bits(modulus: str | None) -> int | None:
    # base64url without padding: four characters are three bytes. A made-up short modulus tells nothing.
    size = len(modulus.rstrip("=")) * 6 // 8 * 8 if modulus else 0
    return size if size >= 1024 else None


def permission_blocks(body: Node) -> tuple[PermissionBlock, ...]:
    """`permissions[]` of a role definition or deny assignment, each with its condition."""
    return tuple(
        PermissionBlock(
            data_actions=each["dataActions"].texts(),
            not_data_actions=each["notDataActions"].texts(),
            condition=each["condition"].text() or None,
        )
        for each in body.needed()
    )


def role_definition(body: Node) -> RoleDefinition:
    """`Microsoft.Authorization/roleDefinitions`, read raw: a typed client drops conditions (azure-facts 4.1)."""
    properties = body["properties"]
    name = body["name"].text() or body["id"].required()
    return RoleDefinition(
        id=guid_of(body["id"].text() or name),
        name=properties["roleName"].text() or name,
        permissions=permission_blocks(properties["permissions"]),
    )


def guid_of(role_definition_id: str) -> str:
    """A role definition's guid, lower case: unique in a tenant, whatever scope the id is written with."""
    return role_definition_id.rstrip("/").rpartition("/")[2].lower()


def role_assignment(body: Node) -> RoleAssignment:
    """`Microsoft.Authorization/roleAssignments`."""
    properties = body["properties"]
    return RoleAssignment(
        id=body["id"].resource_id(),
        scope=properties["scope"].resource_id(),
        role_definition_id=guid_of(properties["roleDefinitionId"].required()),
        principal_id=properties["principalId"].required().lower(),
        condition=properties["condition"].text() or None,
    )


def schedule_instance(body: Node) -> ScheduleInstance:
    """`Microsoft.Authorization/roleAssignmentScheduleInstances`, API version 2020-10-01; without an end it is for good."""
    properties = body["properties"]
    return ScheduleInstance(
        scope=properties["scope"].resource_id(),
        role_definition_id=guid_of(properties["roleDefinitionId"].required()),
        principal_id=properties["principalId"].required().lower(),
        ends_at=properties["endDateTime"].time(),
        origin=properties["originRoleAssignmentId"].optional_resource_id(),
    )


def hsm_role_assignment(body: Node) -> HsmRoleAssignment:
    """A Managed HSM's local role assignment; `/` and `/keys` are one scope (azure-facts 4.3)."""
    properties = body["properties"]
    scope = "/" + properties["scope"].required().strip("/").lower()
    return HsmRoleAssignment(
        id=body["id"].text() or body["name"].required(),
        scope="/" if scope == "/keys" else scope,
        role_definition_id=guid_of(properties["roleDefinitionId"].required()),
        principal_id=properties["principalId"].required().lower(),
    )


def deny_assignment(body: Node) -> DenyAssignment:
    """`Microsoft.Authorization/denyAssignments`. A principal of no known type may be a group: it is kept as both."""
    properties = body["properties"]
    named, groups = _principals(properties["principals"].needed())
    excluded, excluded_groups = _principals(properties["excludePrincipals"])
    return DenyAssignment(
        id=body["id"].resource_id(),
        name=properties["denyAssignmentName"].text() or body["name"].text() or "",
        scope=properties["scope"].resource_id() if properties["scope"].text() else body["id"].resource_id(),
        permissions=permission_blocks(properties["permissions"]),
        principals=named,
        group_principals=groups,
        excluded=excluded,
        excluded_groups=excluded_groups,
        applies_to_children=not properties["doNotApplyToChildScopes"].flag(),
        condition=properties["condition"].text() or None,
    )


_NO_GROUP = frozenset({"user", "serviceprincipal", "systemdefined", "everyone"})


def _principals(entries: Node) -> tuple[frozenset[str], frozenset[str]]:
    named: set[str] = set()
    groups: set[str] = set()
    for entry in entries:
        object_id = entry["id"].required().lower()
        kind = entry["type"].lower() or ""
        if kind != "group":
            named.add(object_id)
        if kind not in _NO_GROUP and object_id != "00000000-0000-0000-0000-000000000000":
            groups.add(object_id)
    return frozenset(named), frozenset(groups)


def service_principal(body: Node) -> Principal:
    """Microsoft Graph's `servicePrincipal`."""
    enabled = body["accountEnabled"]
    return Principal(
        object_id=body["id"].required().lower(),
        app_id=body["appId"].lower(),
        name=body["displayName"].text(),
        enabled=enabled.flag() if enabled.present else True,
    )


def user_assigned_identity(body: Node) -> Principal:
    """`Microsoft.ManagedIdentity/userAssignedIdentities`."""
    properties = body["properties"]
    return Principal(
        object_id=properties["principalId"].required().lower(),
        app_id=properties["clientId"].lower(),
        name=body["id"].resource_id().name,
        tenant_id=properties["tenantId"].lower(),
    )
