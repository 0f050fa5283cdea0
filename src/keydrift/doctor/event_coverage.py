"""Which of the operations that matter do some Event Grid subscriptions let through? Pure.

Filter rules: learn.microsoft.com/azure/event-grid/event-filtering (azure-facts 3.6). Values compare without letter case; several
filters are joined by *and*, the values of one by *or*; a missing key passes the negated operators and fails the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

_WRITE, _DELETE, _ACTION = (f"Microsoft.Resources.Resource{kind}Success" for kind in ("Write", "Delete", "Action"))
_WRITTEN_AND_DELETED = (
    "Microsoft.Authorization/roleAssignments",
    "Microsoft.Authorization/roleDefinitions",
    "Microsoft.KeyVault/vaults",
    "Microsoft.KeyVault/managedHSMs",
    "Microsoft.ManagedIdentity/userAssignedIdentities",
    "Microsoft.DataProtection/backupVaults",
    "Microsoft.RecoveryServices/vaults",
    "Microsoft.Compute/diskEncryptionSets",
)
# Operation by event type (azure-facts 3.3). Deny assignments are left out: most are the system's own and may raise no event
NEEDED: tuple[tuple[str, str], ...] = (
    *(
        (event_type, f"{resource}/{verb}")
        for resource in _WRITTEN_AND_DELETED
        for event_type, verb in ((_WRITE, "write"), (_DELETE, "delete"))
    ),
    (_WRITE, "Microsoft.KeyVault/vaults/accessPolicies/write"),
    (_WRITE, "Microsoft.Compute/virtualMachines/write"),
    (_WRITE, "Microsoft.Compute/disks/write"),
    (_DELETE, "Microsoft.Resources/subscriptions/resourceGroups/delete"),
    (_ACTION, "Microsoft.Resources/subscriptions/resourceGroups/moveResources/action"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdvancedFilter:
    """One advanced filter; `operator` as Event Grid spells it (`StringBeginsWith`), `values` lower case."""

    operator: str
    key: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSubscription:
    """An event subscription. `event_types` empty means every type; `state` is the provisioning state, lower case."""

    name: str
    destination: str
    state: str = "succeeded"
    expires_at: datetime | None = None
    event_types: frozenset[str] = frozenset()
    subject_begins: str = ""
    subject_ends: str = ""
    filters: tuple[AdvancedFilter, ...] = ()

    def is_active(self, now: datetime) -> bool:
        """Whether it delivers at all: provisioned, and not expired."""
        return self.state in ("", "succeeded") and (self.expires_at is None or self.expires_at > now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Operations that nothing lets through, and those of which it cannot be told."""

    missing: tuple[str, ...]
    untold: tuple[str, ...]


def coverage(subscriptions: Iterable[EventSubscription], source: str) -> Coverage:
    """Weigh active event subscriptions on the topic of `source` (`/subscriptions/{id}`) against what is needed."""
    given = tuple(subscriptions)
    missing: list[str] = []
    untold: list[str] = []
    for event_type, operation in NEEDED:
        answers = [_passes(each, event_type, operation, source) for each in given]
        if True not in answers:
            (untold if None in answers else missing).append(operation)
    return Coverage(missing=tuple(missing), untold=tuple(untold))


def _passes(subscription: EventSubscription, event_type: str, operation: str, source: str) -> bool | None:
    """None where a filter looks at something that differs from event to event."""
    types = subscription.event_types
    if types and "all" not in types and event_type.lower() not in types:
        return False
    # Subjects are resource ids below the source: a prefix beyond it leaves some out, and so does every ending
    if subscription.subject_ends or not f"{source}/".lower().startswith(subscription.subject_begins.lower()):
        return False
    known = {"data.operationname": operation, "eventtype": event_type, "type": event_type, "topic": source, "source": source}
    answers = [_matches(each, known) for each in subscription.filters]
    if False in answers:
        return False
    return None if None in answers else True


_TESTS: Mapping[str, Callable[[str, Sequence[str]], bool]] = {
    "in": lambda value, wanted: value in wanted,
    "beginswith": lambda value, wanted: value.startswith(tuple(wanted)),
    "endswith": lambda value, wanted: value.endswith(tuple(wanted)),
    "contains": lambda value, wanted: any(each in value for each in wanted),
}


def _matches(rule: AdvancedFilter, known: Mapping[str, str]) -> bool | None:
    operator = rule.operator.lower()
    negated = operator.startswith("stringnot")
    test = _TESTS.get(operator.removeprefix("stringnot" if negated else "string"))
    value = known.get(rule.key.lower())
    if test is None or value is None or not operator.startswith("string"):
        return None
    return test(value.lower(), rule.values) is not negated
