"""What is remembered of a key binding between two reads of it: what is open, and what was told of it. Nouns; `drift` decides."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from keydrift.model import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """An open drift: what was last alerted while the binding was not held.

    `lost_at` is when the present loss happened (the explaining event's time, else the read's), None while nothing is lost;
    `lost_for` is how long earlier losses of this standing took, at risk in between. So that an actor who is heard of later is
    still found, the rest keeps what was looked for when it last differed: one of the `operations` since `after` (the last
    read that saw it otherwise) that explained no alert before (`explained_until`), deleting what `vanished` (None: not
    known). `lag` is how long it takes to bite at most; `reminded_at` is when it was last reminded of. `unseen` are codes told
    before for which `facts-unreadable` stands now: they have not been seen to end.
    """

    state: State
    codes: frozenset[str]
    cause_key: str
    opened_at: datetime
    after: datetime | None
    lost_at: datetime | None = None
    lost_for: timedelta = timedelta()
    actor_named: bool = False
    operations: frozenset[str] = frozenset()
    explained_until: datetime | None = None
    vanished: frozenset[str] | None = None
    exempted: bool = False
    exemption_reason: str | None = None
    lag: timedelta = timedelta()
    reminded_at: datetime | None = None
    unseen: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Flapping:
    """A binding that opens and resolves again and again: rows are held back meanwhile (`flapping`).

    `told` is what the rows said last, always an open drift; `since` when the first of its `ends` was, `turned_at` when the
    binding last changed at all; `lost_for` is how long the losses took that ended since the rows were held back.
    """

    since: datetime
    told: Standing
    turned_at: datetime
    ends: int
    lost_for: timedelta = timedelta()


@dataclass(frozen=True, slots=True, kw_only=True)
class BindingRecord:
    """What is remembered of a key binding. `sequence` numbers its alerts and starts at its creation in epoch seconds.

    `granted_by` are the grants that counted at the last readable verdict, `granted_through_groups` those of them that name a
    group. `explained_until` is the time of the newest change that has explained an alert, so that it does not explain the
    next one too. `told_until` is when the newest re-pointed consumer that was told of was seen. `ended_at` is when drifts
    ended lately, while nothing is `flapping`.
    """

    binding_id: str
    sequence: int
    state: State = State.HELD
    standing: Standing | None = None
    pending_unknown_since: datetime | None = None
    read_at: datetime | None = None
    granted_by: frozenset[str] = frozenset()
    granted_through_groups: frozenset[str] = frozenset()
    ended_at: tuple[datetime, ...] = ()
    flapping: Flapping | None = None
    explained_until: datetime | None = None
    told_until: datetime | None = None

    @classmethod
    def created(cls, binding_id: str, at: datetime) -> BindingRecord:
        """The record of a binding first seen now: taken for held, so a first verdict of `held` raises nothing."""
        return cls(binding_id=binding_id, sequence=int(at.timestamp()))

    @property
    def is_at_rest(self) -> bool:
        """Whether the same verdict of held, whenever it comes again, changes nothing here but `read_at`."""
        told = self.standing is None and self.pending_unknown_since is None and self.flapping is None
        return self.state is State.HELD and told and not self.ended_at
