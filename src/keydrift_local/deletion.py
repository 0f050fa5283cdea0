"""What Azure deletes with an object: children, role assignments, memberships, identities; and what it soft-deletes.

Sources: Key Vault `soft-delete-overview` (role assignments and Event Grid subscriptions go with the vault, a recovery restores
neither); Entra deletes a managed identity's service principal with its resource.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from keydrift.resource_id import ResourceId
from keydrift_local.documents import JsonObject, format_time, items, member, text
from keydrift_local.tenant_index import TenantIndex
from keydrift_local.tenant_objects import (
    HSM_SECTIONS,
    MANAGED_HSM,
    SYSTEM_TOPIC,
    VAULT,
    Address,
    Entry,
    Section,
    is_resource_group,
    own_identities,
)

_RETENTION_DAYS = 90
_SCOPED = (Section.ROLE_ASSIGNMENTS, Section.SCHEDULE_INSTANCES, Section.DENY_ASSIGNMENTS)


def delete(index: TenantIndex, address: Address, now: datetime) -> tuple[str, ...]:
    """Delete an object and what goes with it. Returns the ids of the latter."""
    gone = index.find(address.section, address.id)
    index.remove(address.section, address.id)
    match address.section:
        case Section.RESOURCES if is_resource_group(address.id):
            tops = [
                entry
                for entry in index.group(address.id)
                if "providers" not in entry.id.segments[6:] and len(entry.id.segments) == 8
            ]
            cascaded = [each for top in tops for each in (str(top.id), *delete(index, Address(Section.RESOURCES, top.id), now))]
            return (*cascaded, *_remove(index, Section.RESOURCES, index.group(address.id)), *_remove_scoped(index, address.id))
        case Section.RESOURCES if gone is not None:
            return _delete_resource(index, gone, now)
        case Section.GROUPS | Section.SERVICE_PRINCIPALS:
            return _leave_groups(index, {address.id.name.lower()})
        case _:
            return ()


def undo_soft_delete(index: TenantIndex, identifier: ResourceId) -> tuple[str, ...]:
    """A key store that is there again (created or recovered) is no longer among the deleted ones."""
    back = [
        (section, entry)
        for section, name in ((Section.DELETED_VAULTS, "vaultId"), (Section.DELETED_HSMS, "mhsmId"))
        for entry in index.every(section)
        if ResourceId.parse(text(entry.body, "properties", name) or "/") == identifier
    ]
    for section, entry in back:
        index.remove(section, entry.id)
    return tuple(str(entry.id) for _, entry in back)


def forget_identities(index: TenantIndex, object_ids: Iterable[str]) -> tuple[str, ...]:
    """Service principals of managed identities that no resource owns any more leave the directory."""
    lost = {each for each in object_ids if index.owner_of(each) is None}
    if not lost:
        return ()
    principals = [entry for entry in index.every(Section.SERVICE_PRINCIPALS) if entry.id.name.lower() in lost]
    return _remove(index, Section.SERVICE_PRINCIPALS, principals) + _leave_groups(index, lost)


def _delete_resource(index: TenantIndex, gone: Entry, now: datetime) -> tuple[str, ...]:
    below = [entry for entry in index.tree(_top(gone.id)) if gone.id.contains(entry.id)]
    cascaded = _remove(index, Section.RESOURCES, below)
    # A key or secret leaves the role assignments on it behind: only the vault's deletion is documented to take them along.
    if gone.id.resource_type.startswith(f"{VAULT}/"):
        return cascaded
    cascaded += _remove_scoped(index, gone.id)
    topics = [
        entry
        for entry in index.of_type(SYSTEM_TOPIC)
        if ResourceId.parse(text(entry.body, "properties", "source") or "/") == gone.id
    ]
    for topic in topics:
        cascaded += _remove(index, Section.RESOURCES, index.tree(topic.id))
    for section in HSM_SECTIONS.values():
        cascaded += _remove(index, section, [entry for entry in index.every(section) if gone.id.contains(entry.id)])
    _soft_delete(index, gone, now)
    identities = {each for entry in (gone, *below) for each in own_identities(entry)}
    return cascaded + forget_identities(index, identities)


def _top(identifier: ResourceId) -> ResourceId:
    provider = max(position for position, segment in enumerate(identifier.segments) if segment == "providers")
    return ResourceId.parse("/" + "/".join(identifier.parts[: provider + 4]))


def _soft_delete(index: TenantIndex, gone: Entry, now: datetime) -> None:
    match gone.id.resource_type:
        case kind if kind == VAULT and member(gone.body, "properties", "enableSoftDelete") is not False:
            section, plural, reference = Section.DELETED_VAULTS, "deletedVaults", "vaultId"
        case kind if kind == MANAGED_HSM:
            section, plural, reference = Section.DELETED_HSMS, "deletedManagedHSMs", "mhsmId"
        case _:
            return
    days = member(gone.body, "properties", "softDeleteRetentionInDays")
    retention = timedelta(days=days if isinstance(days, int) else _RETENTION_DAYS)
    location = text(gone.body, "location") or "westeurope"
    identifier = f"/subscriptions/{gone.id.parts[1]}/providers/Microsoft.KeyVault/locations/{location}/{plural}/{gone.id.name}"
    body: JsonObject = {
        "id": identifier,
        "name": gone.id.name,
        "type": f"Microsoft.KeyVault/{plural}",
        "properties": {
            reference: str(gone.id),
            "location": location,
            "tags": gone.body.get("tags") or {},
            "deletionDate": format_time(now),
            "scheduledPurgeDate": format_time(now + retention),
            "purgeProtectionEnabled": member(gone.body, "properties", "enablePurgeProtection") is True,
        },
    }
    index.add(section, Entry(ResourceId.parse(identifier), body))


def _remove_scoped(index: TenantIndex, scope: ResourceId) -> tuple[str, ...]:
    gone: tuple[str, ...] = ()
    for section in _SCOPED:
        for stood_on in index.scopes(section):
            if scope.contains(ResourceId.parse(stood_on)):
                gone += _remove(index, section, index.standing_on(section, stood_on))
    return gone


def _remove(index: TenantIndex, section: Section, entries: list[Entry]) -> tuple[str, ...]:
    for entry in entries:
        index.remove(section, entry.id)
    return tuple(str(entry.id) for entry in entries)


def _leave_groups(index: TenantIndex, object_ids: set[str]) -> tuple[str, ...]:
    for group in index.every(Section.GROUPS):
        members = items(group.body, "members")
        staying = [each for each in members if str(each).lower() not in object_ids]
        if len(staying) < len(members):
            index.add(Section.GROUPS, Entry(group.id, {**group.body, "members": staying}))
    return ()
