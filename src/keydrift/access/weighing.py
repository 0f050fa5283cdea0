"""What the permission evaluators share: a need, and the outcome of weighing every grant and deny against it."""

from __future__ import annotations

from dataclasses import dataclass

from keydrift.facts import Unread
from keydrift.model import ProofStep, StoreObject
from keydrift.requirement import Permission
from keydrift.resource_id import ResourceId


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Need:
    """One permission that has to be effective on one key or secret.

    `resource` is the target's ARM id under Azure RBAC, None where nobody knows its key store. A judgement makes each of its needs
    once and looks them up over and over, so they are compared by identity.
    """

    permission: Permission
    target: StoreObject
    resource: ResourceId | None = None

    @property
    def name(self) -> str:
        """The permission's spelling in its model."""
        return self.permission.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """A need that could neither be granted nor refused, and why."""

    need: Need
    unread: Unread
    conditional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """The outcome for one key store and principal.

    `granted` are proven, `doubts` hang on something unread (a need may be in `doubts` only while not granted), `denied` are
    proven denies and `deny_doubts` denies that may apply. `reached` says whether any grant reaches the principal and a target;
    `compound_only` that the only access policies naming it carry an application id. `granting` are the ids of the
    grants that count, kept so that a later loss can name what vanished.
    """

    granted: frozenset[Need] = frozenset()
    doubts: tuple[Doubt, ...] = ()
    denied: frozenset[Need] = frozenset()
    deny_doubts: tuple[Doubt, ...] = ()
    reached: bool = False
    compound_only: bool = False
    steps: tuple[ProofStep, ...] = ()

    def lacking(self, needs: tuple[Need, ...]) -> tuple[Need, ...]:
        """The needs that certainly are not granted."""
        doubtful = {doubt.need for doubt in self.doubts}
        return tuple(need for need in needs if need not in self.granted and need not in doubtful)
