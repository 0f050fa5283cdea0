"""The simulated tenant: one mutable document of Azure objects.

Objects are kept verbatim. What Azure answers for them is `azure/`; which events a change causes is `change_events`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from keydrift.errors import ConfigError
from keydrift.resource_id import ResourceId
from keydrift_local import deletion
from keydrift_local.documents import JsonObject, items, merge_patch, text
from keydrift_local.tenant_index import TenantIndex
from keydrift_local.tenant_objects import HSM_SECTIONS, Address, Entry, Section, locate, own_identities, scope_of
from keydrift_local.tenant_rules import check

type Verb = Literal["put", "merge", "delete"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedChange:
    """What a change did: the object before and after (None where there was none), and what Azure deleted with it."""

    verb: Verb
    address: Address
    before: JsonObject | None
    after: JsonObject | None
    cascaded: tuple[str, ...] = ()

    @property
    def id(self) -> ResourceId:
        """The changed object's id as the tenant spells it."""
        return self.address.id


class Tenant:
    """An Azure tenant as one document. Not thread-safe: whoever serves it holds the lock.

    `clock` dates what Azure dates (soft deletion). `uses_event_grid` stays true once there was any Event Grid resource.
    """

    def __init__(self, *, tenant_id: str, cloud: str = "AzureCloud", now: datetime | None = None) -> None:
        self.tenant_id = tenant_id
        self.cloud = cloud
        self.now = now
        self.clock: Callable[[], datetime] = running_clock(now)
        self.uses_event_grid = False
        self.index = TenantIndex()
        self._subscriptions: dict[str, str] = {}

    @property
    def subscriptions(self) -> list[str]:
        """Every subscription id seen in resources, management groups and scopes, in order of appearance.

        A subscription outlives its last resource.
        """
        return list(self._subscriptions.values())

    def find(self, section: Section, identifier: ResourceId) -> Entry | None:
        """The object of that id, or None."""
        return self.index.find(section, identifier)

    def every(self, section: Section) -> list[Entry]:
        """All objects of one section, in order of appearance."""
        return self.index.every(section)

    def resource_group_exists(self, group: ResourceId) -> bool:
        """Whether the resource group is there: on its own, or because something lives in it."""
        return bool(self.index.group(group)) or self.find(Section.RESOURCES, group) is not None

    def data_plane(self, hsm: ResourceId, section: Section) -> list[Entry]:
        """A Managed HSM's keys, role definitions or role assignments."""
        return [entry for entry in self.every(section) if hsm.contains(entry.id)]

    def managed_identities(self) -> dict[str, Entry]:
        """Resources by the (lower-case) object id of the managed identity that is their own."""
        found: dict[str, Entry] = {}
        for entry in self.every(Section.RESOURCES):
            for object_id in own_identities(entry):
                found.setdefault(object_id, entry)
        return found

    def apply(self, change: Mapping[str, object]) -> AppliedChange:
        """Apply `{"delete": id}`, `{"put": {…}}` or `{"merge": {…}}` (RFC 7396).

        Raises ConfigError where the change is none of these, an object is malformed, or what it names is not there.
        """
        match dict(change):
            case {"delete": str() as identifier, **rest} if not rest:
                return self._delete(identifier)
            case {"put": dict() as body, **rest} if not rest:
                return self._write("put", body)
            case {"merge": dict() as body, **rest} if not rest:
                return self._write("merge", body)
        raise ConfigError('change: expected exactly one of {"delete": "<id>"}, {"put": {…}} and {"merge": {…}}')

    def add(self, address: Address, body: JsonObject) -> None:
        """Put an object that has been checked; one that is there already keeps its id's spelling."""
        existing = self.find(address.section, address.id)
        entry = Entry(existing.id if existing else address.id, body)
        self.index.add(address.section, entry)
        self._see(address.section, entry)

    def _write(self, verb: Literal["put", "merge"], given: JsonObject) -> AppliedChange:
        identifier = text(given, "id")
        if identifier is None:
            raise ConfigError(f"change.{verb}.id: expected a non-empty string")
        address = locate(identifier)
        existing = self.find(address.section, address.id)
        if verb == "merge" and existing is None:
            raise ConfigError(f"change.merge: nothing has the id `{identifier}`")
        body = self._body(verb, address, existing, given)
        check(address.section, address.id, body, f"change.{verb}")
        before = set(own_identities(existing)) if existing else set()
        self.add(address, body)
        cascaded = deletion.undo_soft_delete(self.index, address.id) + deletion.forget_identities(self.index, before)
        return AppliedChange(
            verb=verb,
            address=Address(address.section, existing.id if existing else address.id),
            before=existing.body if existing else None,
            after=body,
            cascaded=cascaded,
        )

    def _body(self, verb: Verb, address: Address, existing: Entry | None, given: JsonObject) -> JsonObject:
        body = deepcopy(given)
        if address.section in (Section.SERVICE_PRINCIPALS, Section.GROUPS):
            body["id"] = address.id.name
        if address.section in HSM_SECTIONS.values():
            body.setdefault("name", address.id.name)
        if existing is None:
            return body
        body.pop("id")
        if "id" in existing.body:
            body["id"] = existing.body["id"]
        merged = merge_patch(existing.body, body) if verb == "merge" else body
        assert isinstance(merged, dict)
        return merged

    def _delete(self, identifier: str) -> AppliedChange:
        address = locate(identifier)
        entry = self.find(address.section, address.id)
        if entry is None and not (address.section is Section.RESOURCES and self.resource_group_exists(address.id)):
            raise ConfigError(f"change.delete: nothing has the id `{identifier}`")
        found = Address(address.section, entry.id if entry else address.id)
        cascaded = deletion.delete(self.index, found, self.clock())
        return AppliedChange(verb="delete", address=found, before=entry.body if entry else None, after=None, cascaded=cascaded)

    def _see(self, section: Section, entry: Entry) -> None:
        if section is Section.RESOURCES and entry.id.resource_type.startswith("microsoft.eventgrid/"):
            self.uses_event_grid = True
        seen = [entry.id]
        if section in (Section.ROLE_ASSIGNMENTS, Section.DENY_ASSIGNMENTS, Section.SCHEDULE_INSTANCES):
            seen.append(scope_of(entry))
        if section is Section.MANAGEMENT_GROUPS:
            seen += [ResourceId.parse(f"/subscriptions/{each}") for each in management_group_subscriptions(entry.body)]
        for identifier in seen:
            if identifier.subscription_id is not None:
                self._subscriptions.setdefault(identifier.subscription_id, identifier.parts[1])


def management_group_subscriptions(body: JsonObject) -> list[str]:
    """The subscription ids directly in a management group, bare; `/subscriptions/{id}` is accepted too."""
    return [each.rstrip("/").rsplit("/", 1)[-1] for each in items(body, "subscriptions") if isinstance(each, str)]


def running_clock(start: datetime | None) -> Callable[[], datetime]:
    """The wall clock, or one that began at `start` when it was made."""
    if start is None:
        return lambda: datetime.now(UTC)
    began = time.monotonic()
    return lambda: start + timedelta(seconds=time.monotonic() - began)
