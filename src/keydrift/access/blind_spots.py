"""Blind spots: which findings a failed read leaves open. One that was told of before has not ended because nobody can see it."""

from __future__ import annotations

from collections.abc import Iterator

from keydrift.access.identity import IdentityOutcome
from keydrift.access.key_state import unread_objects
from keydrift.access.weighing import Weighed
from keydrift.facts import Facts, Read, ScheduleInstance, StoreFacts, Unread, store_not_seen
from keydrift.model import BlindSpot, KeyBinding, PermissionModel

_ADVISORY = frozenset({"advisory-permission-missing"})
_SWITCHED = frozenset({"permission-model-switched"})
_EXPIRING = frozenset({"grant-expiring"})
_DENIED = frozenset({"deny-assignment"})
# By the model in force: under one model the other's grants mean nothing, so nothing that is said of them stays open
_GRANTS = {
    PermissionModel.ACCESS_POLICY: frozenset(
        {"access-policy-absent", "access-policy-insufficient", "access-policy-compound-only", *_SWITCHED, *_ADVISORY}
    ),
    PermissionModel.RBAC: frozenset(
        {
            "role-assignment-absent",
            "role-insufficient",
            "role-assignment-conditional",
            *_SWITCHED,
            *_ADVISORY,
            *_EXPIRING,
        }
    ),
    PermissionModel.MANAGED_HSM: frozenset({"hsm-role-assignment-absent", "hsm-role-insufficient", *_ADVISORY}),
}
OF_GRANTS = _DENIED.union(*_GRANTS.values())
OF_PRINCIPALS = frozenset({"principal-not-found", "principal-disabled", "identity-deleted"})
OF_KEY_STORES = frozenset(
    {
        "key-store-not-found",
        "network-blocked",
        "network-perimeter",
        "network-unsupported-with-user-identity",
        "purge-protection-off",
        "soft-delete-off",
        "tenant-mismatch",
        "region-mismatch",
        "hsm-unsupported",
    }
)
OF_OBJECTS = {
    "keys": frozenset(
        {
            "key-not-found",
            "key-disabled",
            "key-expired",
            "key-not-yet-valid",
            "key-expiring",
            "key-unsuitable",
            "key-versions-excessive",
        }
    ),
    "secrets": frozenset({"secret-not-found", "secret-disabled", "secret-expiring"}),
}


def of_principal(identity: IdentityOutcome) -> Iterator[BlindSpot]:
    """A principal that was not read; where nobody knows its object id, nothing can be said of its grants either."""
    codes = OF_PRINCIPALS if identity.principal is not None else OF_PRINCIPALS | OF_GRANTS
    yield from (BlindSpot(unread=unread, codes=codes) for unread in identity.unread)


def of_key_store(host: str, facts: StoreFacts | None) -> Iterator[BlindSpot]:
    """A key store that was not read, and with it the model that its grants are judged by."""
    read = store_not_seen(host) if facts is None else facts.store
    if isinstance(read, Unread):
        yield BlindSpot(unread=read, codes=OF_KEY_STORES | OF_GRANTS)


def of_objects(binding: KeyBinding, facts: Facts) -> Iterator[BlindSpot]:
    """Keys and secrets that were not read."""
    yield from (BlindSpot(unread=unread, codes=OF_OBJECTS[kind]) for kind, unread in unread_objects(binding, facts))


def of_grants(
    model: PermissionModel, weighed: Weighed, undecided: Unread | None, instances: Read[tuple[ScheduleInstance, ...]] | None
) -> Iterator[BlindSpot]:
    """Grants and denies that were not read; `undecided` is the read that leaves open whether the other model would grant,
    `instances` tell the ends of assignments."""
    for doubt in weighed.doubts:
        if not doubt.conditional:
            yield BlindSpot(unread=doubt.unread, codes=_ADVISORY if doubt.need.permission.advisory else _GRANTS[model])
    yield from (BlindSpot(unread=doubt.unread, codes=_DENIED) for doubt in weighed.deny_doubts)
    if undecided is not None:
        yield BlindSpot(unread=undecided, codes=_SWITCHED)
    if model is PermissionModel.RBAC and isinstance(instances, Unread):
        yield BlindSpot(unread=instances, codes=_EXPIRING)
