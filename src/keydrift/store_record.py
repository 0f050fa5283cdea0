"""What is remembered of a key store beside its bindings' records, what it is after a read, and as state keeps it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import cast

from keydrift.facts import Absent, Earlier, Facts, KeyObject, KeyVault, ManagedHsm, Principal, StoreFacts, Unread
from keydrift.key_uri import KeyUri
from keydrift.restraint import UNRESTRAINED, Restraint
from keydrift.stored import earlier_document, earlier_from

COUNT_VERSIONS_EVERY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreRecord:
    """What is remembered of a key store. `read_at` is None until its facts were recorded once.

    `object_ids` maps app ids to object ids as the directory showed them; `role_definitions` are the guids weighed last;
    `answered` whether the store itself was ever read. `version_counts` are the last counts of keys' versions by the key's name,
    made at `versions_counted_at` (or asked for then, in vain). `objects` are the keys and secrets as read last, where a sweep
    reads only some of them at a time. `restraint` holds back what would be read again and again in vain. `at_rest` is the digest
    of the verdicts that it had when it came to rest (`rest`).
    """

    host: str
    read_at: datetime | None = None
    object_ids: Mapping[str, str] = field(default_factory=dict)
    role_definitions: frozenset[str] = frozenset()
    answered: bool = False
    versions_counted_at: datetime | None = None
    version_counts: Mapping[str, int] = field(default_factory=dict)
    objects: Mapping[KeyUri, Earlier] = field(default_factory=dict)
    restraint: Restraint = UNRESTRAINED
    at_rest: str | None = None
    etag: str | None = None


def count_is_due(store: StoreRecord, now: datetime) -> bool:
    """Whether to count the versions of the store's keys; an event's recheck never does, so that it stays as cheap as it is."""
    return store.versions_counted_at is None or now - store.versions_counted_at >= COUNT_VERSIONS_EVERY


def counts_of(store: StoreRecord) -> dict[KeyUri, int]:
    """The last counts of the versions of a key store's keys."""
    return {KeyUri(store.host, "keys", name): count for name, count in store.version_counts.items()}


def _counted(store: StoreRecord, facts: StoreFacts) -> Mapping[str, int]:
    """The last count of each key that is still watched; a key that is gone, and may come back as another, has none."""
    counts = dict(counts_of(store))
    counts |= {uri: each.versions for uri, each in facts.objects.items() if isinstance(each, KeyObject) and each.versions}
    return {uri.name: count for uri, count in counts.items() if isinstance(facts.objects.get(uri), KeyObject | Unread)}


def advanced(store: StoreRecord, facts: Facts, *, counted: bool, objects: Mapping[KeyUri, Earlier]) -> StoreRecord:
    """The key store's record after these facts."""
    mine = facts.stores.get(store.host)
    apps = {ref: p.object_id for ref, p in facts.principals.items() if isinstance(p, Principal) and not ref.startswith("/")}
    return replace(
        store,
        read_at=facts.read_at,
        object_ids={**store.object_ids, **apps},
        role_definitions=frozenset(mine.definitions) if mine else store.role_definitions,
        answered=store.answered or (mine is not None and isinstance(mine.store, KeyVault | ManagedHsm)),
        versions_counted_at=facts.read_at if counted else store.versions_counted_at,
        version_counts=_counted(store, mine) if mine else store.version_counts,
        objects=objects,
    )


def objects_known(store: StoreRecord, facts: Facts, turn: frozenset[KeyUri] | None, read_at: datetime) -> dict[KeyUri, Earlier]:
    """The keys and secrets as known now, where they are read in turns (None: all of them were); the others keep their time."""
    read = facts.stores[store.host].objects if store.host in facts.stores else {}
    fresh = {uri for uri in read if turn is None or uri.versionless in turn}
    return {
        uri: Earlier(read_at=read_at, read=each) if uri in fresh else store.objects[uri]
        for uri, each in read.items()
        if isinstance(each, KeyObject | Absent) and (uri in fresh or uri in store.objects)
    }


def store_document(record: StoreRecord) -> dict[str, object]:
    """A key store's record as state keeps it."""
    return {
        "host": record.host,
        "readAt": record.read_at.isoformat() if record.read_at else None,
        "objectIds": dict(record.object_ids),
        "roleDefinitions": sorted(record.role_definitions),
        "answered": record.answered,
        "versionsCountedAt": record.versions_counted_at.isoformat() if record.versions_counted_at else None,
        "versionCounts": dict(record.version_counts),
        "objects": [earlier_document(uri, each) for uri, each in record.objects.items()],
        **record.restraint.document(),
        "atRest": record.at_rest,
    }


def store_record(body: Mapping[str, object], etag: str | None) -> StoreRecord:
    """The record of a stored document. Raises KeyError, TypeError, ValueError or AttributeError for one that state never kept."""
    read_at, counted_at, at_rest = body.get("readAt"), body.get("versionsCountedAt"), body.get("atRest")
    return StoreRecord(
        host=str(body["host"]),
        read_at=datetime.fromisoformat(read_at) if isinstance(read_at, str) else None,
        object_ids=dict(cast("Mapping[str, str]", body.get("objectIds") or {})),
        role_definitions=frozenset(cast("list[str]", body.get("roleDefinitions") or [])),
        answered=body.get("answered") is True,
        versions_counted_at=datetime.fromisoformat(counted_at) if isinstance(counted_at, str) else None,
        version_counts=dict(cast("Mapping[str, int]", body.get("versionCounts") or {})),
        objects=dict(earlier_from(each) for each in cast("list[Mapping[str, object]]", body.get("objects") or [])),
        restraint=Restraint.of(body),
        at_rest=at_rest if isinstance(at_rest, str) else None,
        etag=etag,
    )
