"""From one tenant to another by `change` steps: derived from what differs, so that nobody writes them by hand.

What Azure does by itself is left to the simulated tenant: a deletion takes along what Azure deletes with it, and a soft-deleted
key store is deleted rather than listed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from datetime import UTC, datetime

from keydrift.resource_id import ResourceId
from keydrift_local.change_events import ChangeEvents
from keydrift_local.documents import JsonObject, text
from keydrift_local.tenant import Tenant
from keydrift_local.tenant_file import parse_tenant
from keydrift_local.tenant_objects import Entry, Section
from support.tenants import Document

type Change = dict[str, object]
type Objects = dict[tuple[Section, str], Entry]

ADMIN = {"objectId": "00000000-0000-0000-0000-000000000501", "upn": "iam-admin@contoso.com", "ip": "203.0.113.7"}
_AT = datetime(2026, 1, 1, tzinfo=UTC)
_SOFT_DELETED = {Section.DELETED_VAULTS: "vaultId", Section.DELETED_HSMS: "mhsmId"}


def changes_between(start: Document, target: Document) -> list[Change]:
    """The changes that make `target` of `start`, in an order that Azure takes: what is new, what differs, what goes."""
    before, after = objects_of(_parsed(start)), objects_of(_parsed(target))
    soft_deleted = [entry for at, entry in after.items() if at[0] in _SOFT_DELETED and at not in before]
    there = {at: entry for at, entry in after.items() if at[0] not in _SOFT_DELETED}
    changes = [_put(entry) for at, entry in there.items() if at not in before]
    changes += [_put(entry) for at, entry in there.items() if at in before and _differs(before[at], entry)]
    for store in soft_deleted:
        changes += _deleted(store, before)
    gone = [entry for at, entry in before.items() if at not in after]
    return changes + list(_deletions(start, changes, gone))


def objects_of(tenant: Tenant) -> Objects:
    """Every object by section and normalised id."""
    return {(section, entry.id.key): entry for section in Section for entry in tenant.every(section)}


def applied(start: Document, changes: list[Change]) -> Tenant:
    """The tenant after the changes."""
    tenant = _parsed(start)
    for change in changes:
        tenant.apply(change)
    return tenant


def events_of(start: Document, changes: list[Change], actor: Mapping[str, str] | None = ADMIN) -> list[JsonObject]:
    """The events that Azure emits for the changes, Event Grid schema, in order."""
    tenant, events = _parsed(start), ChangeEvents()
    return [each for change in changes for each in events.raised_by(tenant.apply(change), tenant, actor, _AT)]


def _parsed(document: Document) -> Tenant:
    return parse_tenant({name: deepcopy(each) for name, each in document.items() if name != "faults"}, "test")


def _put(entry: Entry) -> Change:
    return {"put": {**entry.body, "id": str(entry.id)}}


def _differs(before: Entry, after: Entry) -> bool:
    """Ids that differ in spelling differ: a request may spell them as it likes."""
    return str(before.id) != str(after.id) or before.body != after.body


def _deleted(record: Entry, before: Objects) -> Iterator[Change]:
    """A key store becomes soft-deleted by being deleted; one that never was there is made first, like the one that is."""
    store = ResourceId.parse(text(record.body, "properties", _SOFT_DELETED[_section(record)]) or "/")
    if (Section.RESOURCES, store.key) not in before:
        like = next(
            e for (section, _), e in before.items() if section is Section.RESOURCES and e.id.resource_type == store.resource_type
        )
        yield {"put": {**like.body, "id": str(store)}}
    yield {"delete": str(store)}


def _section(record: Entry) -> Section:
    return Section.DELETED_HSMS if "hsm" in record.id.resource_type else Section.DELETED_VAULTS


def _deletions(start: Document, changes: list[Change], gone: list[Entry]) -> Iterator[Change]:
    """One deletion for each object that an earlier one has not taken along; the shortest ids first."""
    tenant = applied(start, changes)
    for entry in sorted(gone, key=lambda each: len(each.id.segments)):
        if any(found.id == entry.id for found in objects_of(tenant).values()):
            change: Change = {"delete": str(entry.id)}
            tenant.apply(change)
            yield change
