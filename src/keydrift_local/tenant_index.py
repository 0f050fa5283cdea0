"""The tenant's objects by id, by container and by scope, kept in step as they come and go."""

from __future__ import annotations

from collections.abc import Iterator

from keydrift.resource_id import ResourceId
from keydrift_local.tenant_objects import Entry, Section, is_resource_group, own_identities, scope_of

type Key = tuple[str, str, str]

_SCOPED = (Section.ROLE_ASSIGNMENTS, Section.SCHEDULE_INSTANCES, Section.DENY_ASSIGNMENTS)


class TenantIndex:
    """Look-ups whose cost does not grow with the tenant."""

    def __init__(self) -> None:
        self._entries: dict[Section, dict[str, Entry]] = {section: {} for section in Section}
        self._index: dict[Key, dict[str, Entry]] = {}
        self._scopes: dict[Section, dict[str, int]] = {section: {} for section in _SCOPED}

    def find(self, section: Section, identifier: ResourceId) -> Entry | None:
        """The object of that id, or None."""
        return self._entries[section].get(identifier.key)

    def every(self, section: Section) -> list[Entry]:
        """All objects of one section, in order of appearance."""
        return list(self._entries[section].values())

    def resources_in(self, container: ResourceId, resource_type: str) -> list[Entry]:
        """Resources of one full type (any letter case) in a subscription or resource group, or directly below a resource."""
        return self._listed(("type", container.key, resource_type.lower()))

    def of_type(self, resource_type: str) -> list[Entry]:
        """All resources of one full type (any letter case) in the tenant."""
        return self._listed(("type", "", resource_type.lower()))

    def owner_of(self, object_id: str) -> Entry | None:
        """The resource whose own managed identity has that object id, or None."""
        return next(iter(self._listed(("identity", object_id.lower(), ""))), None)

    def tree(self, top: ResourceId) -> list[Entry]:
        """A top-level resource (when it exists) and all resources below it."""
        return self._listed(("tree", top.key, ""))

    def group(self, group: ResourceId) -> list[Entry]:
        """Everything that lives in a resource group."""
        return self._listed(("group", group.key, ""))

    def standing_on(self, section: Section, scope: str) -> list[Entry]:
        """Assignments whose scope is exactly this normalised id."""
        return self._listed((section, scope, ""))

    def scopes(self, section: Section) -> list[str]:
        """Every normalised scope on which an assignment of that section stands."""
        return list(self._scopes[section])

    def add(self, section: Section, entry: Entry) -> None:
        """Add an object; one that is there already keeps its place."""
        self._unlink(section, entry.id)
        self._entries[section][entry.id.key] = entry
        for key in self._keys(section, entry):
            self._index.setdefault(key, {})[entry.id.key] = entry
        if section in self._scopes:
            scopes = self._scopes[section]
            scopes[scope_of(entry).key] = scopes.get(scope_of(entry).key, 0) + 1

    def remove(self, section: Section, identifier: ResourceId) -> None:
        """Take an object out; nothing happens where it is not there."""
        self._unlink(section, identifier)
        self._entries[section].pop(identifier.key, None)

    def _listed(self, key: Key) -> list[Entry]:
        return list(self._index.get(key, {}).values())

    def _unlink(self, section: Section, identifier: ResourceId) -> None:
        entry = self._entries[section].get(identifier.key)
        if entry is None:
            return
        for key in set(self._keys(section, entry)):
            self._index[key].pop(entry.id.key)
            if not self._index[key]:
                del self._index[key]
        if section in self._scopes:
            scope = scope_of(entry).key
            self._scopes[section][scope] -= 1
            if not self._scopes[section][scope]:
                del self._scopes[section][scope]

    def _keys(self, section: Section, entry: Entry) -> Iterator[Key]:
        if section in self._scopes:
            yield section, scope_of(entry).key, ""
        if section is not Section.RESOURCES or is_resource_group(entry.id):
            return
        segments = entry.id.segments
        resource_type = entry.id.resource_type
        provider = max(index for index, segment in enumerate(segments) if segment == "providers")
        top = segments[: provider + 4]
        yield "tree", "/" + "/".join(top), ""
        yield "type", "", resource_type
        for object_id in own_identities(entry):
            yield "identity", object_id, ""
        if len(top) == len(segments):
            yield "type", "/" + "/".join(segments[:provider]), resource_type
            if provider > 2 and segments[0] == "subscriptions":
                yield "type", "/" + "/".join(segments[:2]), resource_type
        else:
            yield "type", "/" + "/".join(segments[:-2]), resource_type
        if entry.id.resource_group is not None:
            yield "group", "/" + "/".join(segments[:4]), ""
