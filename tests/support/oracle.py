"""A second opinion: what a key binding's verdict has to be, worked out apart from the product, in plain loops.

Written from the catalogue and from Azure's rules, sharing only the nouns with the product: its requirements and the levels of the
codes are typed here anew, its wildcards are a regular expression, and a permission is looked up one by one. Slow is fine; what
must never happen is that a line is copied from what it checks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from keydrift.facts import Absent, DeletedKeyStore, Facts, KeyObject, KeyVault, ManagedHsm, Principal, StoreFacts
from keydrift.key_uri import KeyUri
from keydrift.model import AppIdentity, KeyBinding, Scenario, State, StoreObject
from support.oracle_grants import NEEDS, Who, judge_grants

_VAULT_CMK = (Scenario.BACKUP_VAULT_CMK, Scenario.RSV_CMK)
_BACKING_UP = (Scenario.ADE_KEK, Scenario.CVM_CMK)
_CONFIDENTIAL = (Scenario.CVM_CMK, Scenario.CVM_DES)
_DOUBTS = {"facts-unreadable", "role-assignment-conditional"}
_DANGERS = {
    "advisory-permission-missing",
    "encryption-inconsistent",
    "grant-expiring",
    "hsm-unsupported",
    "key-expiring",
    "key-rotation-stalled",
    "key-versions-excessive",
    "network-perimeter",
    "network-unsupported-with-user-identity",
    "purge-protection-off",
    "region-mismatch",
    "secret-expiring",
    "soft-delete-off",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What the oracle says: the state, the finding codes and the permissions that are certainly missing (lower case)."""

    state: State
    codes: frozenset[str]
    missing: frozenset[str]


def second_opinion(
    binding: KeyBinding, facts: Facts, now: datetime, *, key_expiry: timedelta, grant_expiry: timedelta
) -> Opinion:
    """Judge one key binding from the same facts as the product does, `now` and that far ahead."""
    codes: set[str] = set()
    missing: set[str] = set()
    for code in _identity(binding, facts):
        codes.add(code)
    explained = bool(codes - {"facts-unreadable"})
    who = _who(binding, facts)
    for host in {each.uri.host for each in binding.objects}:
        store = facts.stores.get(host)
        codes |= _presence(store)
        if store is None or not isinstance(store.store, KeyVault | ManagedHsm):
            continue
        codes |= _network(binding, store.store)
        if _strayed(binding, facts, store.store):
            codes.add("tenant-mismatch")
        elif not explained and who is not None:
            found, lacking = judge_grants(binding, host, store, who, now + grant_expiry)
            codes |= found
            missing |= lacking
    codes |= _settings(binding, facts)
    codes |= _consumers(binding)
    for target in binding.objects:
        codes |= _object(binding, target, facts.stores.get(target.uri.host), now, key_expiry)
    levels = {_level(code, binding.scenario) for code in codes}
    if State.LOST in levels:
        # What is still in doubt could not undo the loss, so no verdict needs it
        codes -= _DOUBTS
    state = next((each for each in (State.LOST, State.UNKNOWN, State.AT_RISK) if each in levels), State.HELD)
    return Opinion(state=state, codes=frozenset(codes), missing=frozenset(name.lower() for name in missing))


def _level(code: str, scenario: Scenario) -> State:
    if code in _DOUBTS:
        return State.UNKNOWN
    if code in _DANGERS or (code in ("key-expired", "key-not-yet-valid") and scenario in _BACKING_UP):
        return State.AT_RISK
    return State.LOST


# --- principals ----------------------------------------------------------------------------------------------------------


def _directory_entry(binding: KeyBinding, facts: Facts) -> object:
    if isinstance(binding.identity, AppIdentity):
        return facts.principals.get(binding.identity.app_id.lower())
    assert binding.identity.user_assigned is not None
    return facts.principals.get(binding.identity.user_assigned.key)


def _identity(binding: KeyBinding, facts: Facts) -> Iterator[str]:
    identity = binding.identity
    if not isinstance(identity, AppIdentity) and identity.user_assigned is None:
        if identity.system_object_id is None:
            yield "identity-none"
        return
    entry = _directory_entry(binding, facts)
    if isinstance(identity, AppIdentity):
        if isinstance(entry, Absent):
            yield "principal-not-found"
        elif isinstance(entry, Principal) and not entry.enabled:
            yield "principal-disabled"
    elif isinstance(entry, Absent):
        yield "identity-deleted"
    elif identity.user_assigned is not None and identity.user_assigned.key not in identity.attached:
        yield "identity-detached"
    if not isinstance(entry, Principal | Absent):
        yield "facts-unreadable"


def _who(binding: KeyBinding, facts: Facts) -> Who | None:
    """The principal; None where nobody knows its object id."""
    identity = binding.identity
    if isinstance(identity, AppIdentity):
        entry = _directory_entry(binding, facts)
        # Grants are to an object id: while the directory does not answer, to the one that it named last
        object_id = entry.object_id if isinstance(entry, Principal) else facts.last_known.get(identity.app_id.lower())
    elif identity.user_assigned is None:
        object_id = identity.system_object_id
    else:
        entry = _directory_entry(binding, facts)
        object_id = entry.object_id if isinstance(entry, Principal) else identity.attached.get(identity.user_assigned.key)
    if object_id is None:
        return None
    groups = facts.groups.get(object_id)
    return Who(object_id=object_id, groups=groups if isinstance(groups, frozenset) else None)


def _strayed(binding: KeyBinding, facts: Facts, store: KeyVault | ManagedHsm) -> bool:
    identity = binding.identity
    tenant = facts.tenant_id
    if not isinstance(identity, AppIdentity):
        entry = _directory_entry(binding, facts) if identity.user_assigned is not None else None
        shown = entry.tenant_id if isinstance(entry, Principal) else None
        tenant = shown or identity.tenant_id or facts.tenant_id
    return bool(tenant) and bool(store.tenant_id) and tenant != store.tenant_id


# --- key stores ----------------------------------------------------------------------------------------------------------


def _presence(store: StoreFacts | None) -> set[str]:
    if store is None:
        return {"facts-unreadable"}
    if isinstance(store.store, Absent):
        gone = isinstance(store.deleted, DeletedKeyStore) or store.watched_before
        return {"key-store-not-found"} if gone else {"facts-unreadable"}
    return set() if isinstance(store.store, KeyVault | ManagedHsm) else {"facts-unreadable"}


def _network(binding: KeyBinding, store: KeyVault | ManagedHsm) -> set[str]:
    rules, codes = store.network, set()
    perimeter = rules.public_network_access == "securedbyperimeter"
    restricted = rules.public_network_access == "disabled" or rules.default_action == "deny"
    if perimeter:
        codes.add("network-perimeter")
    elif restricted and rules.bypass == "none":
        codes.add("network-blocked")
    by_user = not isinstance(binding.identity, AppIdentity) and binding.identity.user_assigned is not None
    if (restricted or perimeter) and by_user and binding.scenario in _VAULT_CMK:
        codes.add("network-unsupported-with-user-identity")
    return codes


def _settings(binding: KeyBinding, facts: Facts) -> set[str]:
    codes: set[str] = set()
    read = facts.stores.get(binding.target.uri.host)
    store = read.store if read is not None else None
    if isinstance(store, ManagedHsm) and NEEDS[binding.scenario][3] is None:
        codes.add("hsm-unsupported")
    if isinstance(store, KeyVault | ManagedHsm) and binding.scenario in (*_VAULT_CMK, *_CONFIDENTIAL):
        if not store.purge_protection:
            codes.add("purge-protection-off")
        if isinstance(store, KeyVault) and not store.soft_delete:
            codes.add("soft-delete-off")
    if isinstance(store, KeyVault) and binding.scenario is Scenario.RSV_CMK:
        for consumer in binding.consumers:
            if consumer.location and consumer.location.lower().replace(" ", "") != store.location.lower().replace(" ", ""):
                codes.add("region-mismatch")
    return codes


def _consumers(binding: KeyBinding) -> set[str]:
    codes: set[str] = set()
    for consumer in binding.consumers:
        if binding.scenario is Scenario.CVM_DES and consumer.rotation_error:
            codes.add("key-rotation-stalled")
        if binding.scenario is Scenario.BACKUP_VAULT_CMK and (consumer.encryption_state or "").lower() == "inconsistent":
            codes.add("encryption-inconsistent")
    return codes


# --- keys and secrets ----------------------------------------------------------------------------------------------------


def _object(binding: KeyBinding, target: StoreObject, store: StoreFacts | None, now: datetime, ahead: timedelta) -> set[str]:
    if store is None:
        return {"facts-unreadable"}
    bare = KeyUri(target.uri.host, target.uri.kind, target.uri.name)
    current = store.objects.get(bare)
    if isinstance(store.store, Absent) and not isinstance(current, KeyObject):
        return set()
    what = "key" if target.uri.kind == "keys" else "secret"
    if isinstance(current, Absent):
        # A 404 for the key proves nothing while the store it stands in was never seen
        unseen = not isinstance(store.store, KeyVault | ManagedHsm) and not store.watched_before
        return {"facts-unreadable"} if unseen else {f"{what}-not-found"}
    if not isinstance(current, KeyObject):
        return {"facts-unreadable"}
    if what == "secret":
        # The ARM plane shows a secret's latest version only
        older = target.uri.version is not None and current.uri.version is not None and target.uri.version != current.uri.version
        return _attributes(binding, what, current, now, ahead) | ({"facts-unreadable"} if older else set())
    pinned = {version for consumer in binding.consumers for version in consumer.key_versions}
    floating = not binding.consumers or any(not consumer.key_versions for consumer in binding.consumers)
    codes: set[str] = set()
    # Who backs a key up needs the key as it is now, and old versions only to be there and enabled; who works with a key needs
    # the version that it pins
    if binding.scenario in _BACKING_UP or floating or current.uri.version in pinned:
        codes |= _attributes(binding, what, current, now, ahead)
    if binding.scenario in _BACKING_UP and (current.versions or 0) > 500:
        codes.add("key-versions-excessive")
    for version in pinned - {current.uri.version}:
        read = store.objects.get(KeyUri(bare.host, bare.kind, bare.name, version))
        if not isinstance(read, KeyObject):
            codes.add("key-not-found" if isinstance(read, Absent) else "facts-unreadable")
        elif binding.scenario in _BACKING_UP:
            codes |= set() if read.enabled else {"key-disabled"}
        else:
            codes |= _attributes(binding, what, read, now, ahead)
    return codes


def _attributes(binding: KeyBinding, what: str, read: KeyObject, now: datetime, ahead: timedelta) -> set[str]:
    codes: set[str] = set()
    if not read.enabled:
        codes.add(f"{what}-disabled")
    if read.expires is not None:
        if read.expires <= now and what == "key":
            codes.add("key-expired")
        elif read.expires <= now + ahead:
            codes.add(f"{what}-expiring")
    if read.not_before is not None and read.not_before > now and what == "key":
        codes.add("key-not-yet-valid")
    if binding.scenario in _VAULT_CMK and what == "key":
        # What the service does not say accuses nobody
        if read.key_type is not None and read.key_type.upper() not in ("RSA", "RSA-HSM"):
            codes.add("key-unsuitable")
        if read.key_size is not None and read.key_size not in (2048, 3072, 4096):
            codes.add("key-unsuitable")
    return codes
