"""Where an object of the tenant file belongs: its section, its address, and what its id says.

What a well-formed one holds is `tenant_rules`; what the objects *do* is elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from keydrift.errors import ConfigError, DecodeError
from keydrift.resource_id import DENY_ASSIGNMENT, MANAGEMENT_GROUP, ROLE_ASSIGNMENT, ROLE_DEFINITION, ResourceId
from keydrift_local.documents import JsonObject, members, text

VAULT = "microsoft.keyvault/vaults"
MANAGED_HSM = "microsoft.keyvault/managedhsms"
SYSTEM_TOPIC = "microsoft.eventgrid/systemtopics"
RESOURCE_GROUP = "Microsoft.Resources/subscriptions/resourceGroups"

_SPELLINGS = {
    name.lower(): name
    for name in (
        "Microsoft.Authorization/roleAssignments",
        "Microsoft.Authorization/roleAssignmentScheduleInstances",
        "Microsoft.Authorization/roleDefinitions",
        "Microsoft.Authorization/denyAssignments",
        "Microsoft.KeyVault/vaults",
        "Microsoft.KeyVault/vaults/keys",
        "Microsoft.KeyVault/vaults/keys/versions",
        "Microsoft.KeyVault/vaults/secrets",
        "Microsoft.KeyVault/managedHSMs",
        "Microsoft.DataProtection/backupVaults",
        "Microsoft.DataProtection/backupVaults/backupInstances",
        "Microsoft.RecoveryServices/vaults",
        "Microsoft.RecoveryServices/vaults/backupEncryptionConfigs",
        "Microsoft.RecoveryServices/vaults/backupFabrics/protectionContainers/protectedItems",
        "Microsoft.Compute/virtualMachines",
        "Microsoft.Compute/disks",
        "Microsoft.Compute/diskEncryptionSets",
        "Microsoft.ManagedIdentity/userAssignedIdentities",
        "Microsoft.EventGrid/systemTopics",
        "Microsoft.EventGrid/systemTopics/eventSubscriptions",
        "Microsoft.EventGrid/eventSubscriptions",
        "Microsoft.Management/managementGroups",
    )
}


class Section(StrEnum):
    """The lists of a tenant file, by the JSON path of each."""

    RESOURCES = "resources"
    DELETED_VAULTS = "deletedVaults"
    DELETED_HSMS = "deletedManagedHsms"
    MANAGEMENT_GROUPS = "managementGroups"
    ROLE_DEFINITIONS = "roleDefinitions"
    ROLE_ASSIGNMENTS = "roleAssignments"
    SCHEDULE_INSTANCES = "roleAssignmentScheduleInstances"
    DENY_ASSIGNMENTS = "denyAssignments"
    SERVICE_PRINCIPALS = "directory.servicePrincipals"
    GROUPS = "directory.groups"
    HSM_KEYS = "managedHsms.keys"
    HSM_ROLE_DEFINITIONS = "managedHsms.roleDefinitions"
    HSM_ROLE_ASSIGNMENTS = "managedHsms.roleAssignments"


ARM_SECTIONS = {
    ROLE_ASSIGNMENT: Section.ROLE_ASSIGNMENTS,
    ROLE_DEFINITION: Section.ROLE_DEFINITIONS,
    DENY_ASSIGNMENT: Section.DENY_ASSIGNMENTS,
    "microsoft.authorization/roleassignmentscheduleinstances": Section.SCHEDULE_INSTANCES,
    MANAGEMENT_GROUP: Section.MANAGEMENT_GROUPS,
    "microsoft.keyvault/locations/deletedvaults": Section.DELETED_VAULTS,
    "microsoft.keyvault/locations/deletedmanagedhsms": Section.DELETED_HSMS,
}
HSM_SECTIONS = {
    "keys": Section.HSM_KEYS,
    "roledefinitions": Section.HSM_ROLE_DEFINITIONS,
    "roleassignments": Section.HSM_ROLE_ASSIGNMENTS,
}
DIRECTORY_SECTIONS = {"serviceprincipals": Section.SERVICE_PRINCIPALS, "groups": Section.GROUPS}


@dataclass(frozen=True, slots=True)
class Address:
    """Which list an object is in, and the id it is found by there (directory objects: `/directory/groups/{id}`)."""

    section: Section
    id: ResourceId


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of the tenant, verbatim."""

    id: ResourceId
    body: JsonObject


def locate(identifier: str) -> Address:
    """What a `change` means by an id. Raises ConfigError where it is none."""
    try:
        found = ResourceId.parse(identifier if identifier.lstrip().startswith("/") else "/" + identifier)
    except DecodeError as error:
        raise ConfigError(f"`{identifier}` is no id: {error.problem}") from error
    if found.segments[:1] == ("directory",):
        section = DIRECTORY_SECTIONS.get(found.segments[1]) if len(found.segments) == 3 else None
        if section is None:
            raise ConfigError(
                f"`{identifier}` is no directory object: expected `directory/servicePrincipals/<id>` or `directory/groups/<id>`"
            )
        return Address(section, found)
    hsm = found.up_to(MANAGED_HSM)
    if hsm is not None and len(found.segments) == len(hsm.segments) + 2 and found.segments[-2] in HSM_SECTIONS:
        return Address(HSM_SECTIONS[found.segments[-2]], found)
    section = ARM_SECTIONS.get(found.resource_type, Section.RESOURCES)
    if section is Section.RESOURCES and not _is_resource(found):
        raise ConfigError(
            f"`{identifier}` is no id of a resource: expected `/subscriptions/<id>/resourceGroups/<name>/providers/…`"
        )
    return Address(section, found)


def address_in(section: Section, body: JsonObject, path: str, hsm: ResourceId | None = None) -> Address:
    """Where an object read from one section of a tenant file stands. Raises ConfigError with the JSON path."""
    if section in DIRECTORY_SECTIONS.values():
        return Address(section, ResourceId.parse(f"/{section.value.replace('.', '/')}/{_required(body, path, 'id')}"))
    if hsm is not None:
        kind = section.value.split(".")[1]
        return Address(section, hsm.child(kind, _data_plane_name(body, path)))
    found = _id(_required(body, path, "id"), f"{path}.id")
    if section is Section.RESOURCES:
        misplaced = ARM_SECTIONS.get(found.resource_type)
        if misplaced is not None:
            raise ConfigError(f"{path}.id: expected an object of this kind under `{misplaced}`")
        if not _is_resource(found):
            raise ConfigError(f"{path}.id: expected the id of a resource, got `{found}`")
    elif (
        section is not Section.DELETED_VAULTS
        and section is not Section.DELETED_HSMS
        and ARM_SECTIONS.get(found.resource_type) != section
    ):
        raise ConfigError(f"{path}.id: expected the id of one of `{section}`, got `{found}`")
    return Address(section, found)


def scope_of(entry: Entry) -> ResourceId:
    """The scope that an assignment stands on: `properties.scope`, else what its id says."""
    stated = text(entry.body, "properties", "scope")
    if stated is not None:
        return ResourceId.parse(stated)
    return entry.id.extension_scope(entry.id.resource_type) or ResourceId.parse("/")


def own_identities(entry: Entry) -> list[str]:
    """Object ids (lower case) of the managed identity that a resource *is* or owns, not of those attached to it."""
    found = [text(entry.body, "identity", "principalId")]
    if entry.id.resource_type == "microsoft.managedidentity/userassignedidentities":
        found.append(text(entry.body, "properties", "principalId"))
    return [each.lower() for each in found if each]


def full_type(identifier: ResourceId) -> str:
    """The resource type in Azure's usual spelling, `Microsoft.KeyVault/vaults`."""
    if not identifier.resource_type:
        return RESOURCE_GROUP if identifier.resource_group else ""
    last = max(i for i, segment in enumerate(identifier.segments) if segment == "providers")
    namespace, *rest = identifier.parts[last + 1 :]
    return _SPELLINGS.get(identifier.resource_type, "/".join((namespace, *rest[::2])))


def is_resource_group(identifier: ResourceId) -> bool:
    """Whether this is a resource group itself."""
    return len(identifier.segments) == 4 and identifier.resource_group is not None


def _is_resource(identifier: ResourceId) -> bool:
    if is_resource_group(identifier):
        return True
    segments = identifier.segments
    last = max((i for i, segment in enumerate(segments) if segment == "providers"), default=None)
    return last is not None and len(segments) - last >= 4 and (len(segments) - last) % 2 == 0


def _required(body: JsonObject, path: str, *names: str) -> str:
    found = text(body, *names)
    if found is None:
        raise ConfigError(f"{'.'.join((path, *names))}: expected a non-empty string")
    return found


def _id(value: str, path: str) -> ResourceId:
    try:
        return ResourceId.parse(value)
    except DecodeError as error:
        raise ConfigError(f"{path}: {error.problem}") from error


def _data_plane_name(body: JsonObject, path: str) -> str:
    kid = text(members(body, "key"), "kid")
    if kid is not None:
        parts = [part for part in kid.split("/") if part]
        return parts[3] if len(parts) > 3 else parts[-1]
    named = text(body, "name") or (text(body, "id") or "").rstrip("/").rsplit("/", 1)[-1]
    if not named:
        raise ConfigError(f"{path}.name: expected a non-empty string")
    return named
