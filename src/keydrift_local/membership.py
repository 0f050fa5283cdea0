"""Who belongs to which group, transitively."""

from __future__ import annotations

from keydrift_local.documents import items
from keydrift_local.tenant import Tenant
from keydrift_local.tenant_objects import Entry, Section


def groups_of(tenant: Tenant, object_id: str) -> list[Entry]:
    """The groups that hold an object, directly or through other groups; nested circles end."""
    parents: dict[str, list[Entry]] = {}
    for group in tenant.every(Section.GROUPS):
        for member in items(group.body, "members"):
            parents.setdefault(str(member).lower(), []).append(group)
    found: dict[str, Entry] = {}
    waiting = [object_id.lower()]
    while waiting:
        for group in parents.get(waiting.pop(), []):
            name = group.id.name.lower()
            if name not in found:
                found[name] = group
                waiting.append(name)
    return list(found.values())
