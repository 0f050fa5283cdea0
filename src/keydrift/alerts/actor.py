"""Who did it: which notice explains a drift, and how sure that is. Pure.

Nobody is named for a change that could not have caused the finding: the operation must fit the catalogue, the time must lie
between the last read that saw it otherwise and the one that found it, and where it is known which grants vanished, a deleted
role assignment must be among them. Several fitting changes by different people make it `likely`, never `certain`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from keydrift.catalogue import CODES
from keydrift.model import Actor, ChangeNotice
from keydrift.resource_id import ROLE_ASSIGNMENT

# Azure's reads can lag behind its events and clocks differ: a change this much older than the last read may still explain it.
LAG = timedelta(minutes=5)


class Confidence(StrEnum):
    """How sure the actor is."""

    CERTAIN = "certain"
    LIKELY = "likely"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A notice about a key store and when it was received."""

    notice: ChangeNotice
    received_at: datetime

    @property
    def occurred_at(self) -> datetime:
        """When the change happened; an event that does not tell happened no later than it was received."""
        return self.notice.occurred_at or self.received_at

    @property
    def person(self) -> tuple[str | None, ...] | None:
        """Whom the notice names, if anybody."""
        actor = self.notice.actor
        return (actor.object_id, actor.app_id, actor.name) if actor is not None and actor.is_named else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The heard notice that explains a drift, and how sure the actor that it names is."""

    heard: Heard | None
    confidence: Confidence

    @classmethod
    def none(cls) -> Explanation:
        """Nothing heard explains it."""
        return cls(heard=None, confidence=Confidence.NONE)

    @property
    def notice(self) -> ChangeNotice | None:
        """The notice that explains the drift."""
        return self.heard.notice if self.heard else None

    @property
    def actor(self) -> Actor | None:
        """Who made the change."""
        return self.heard.notice.actor if self.heard else None

    @property
    def occurred_at(self) -> datetime | None:
        """When the change happened."""
        return self.heard.occurred_at if self.heard else None

    @property
    def received_at(self) -> datetime | None:
        """When keydrift heard of it."""
        return self.heard.received_at if self.heard else None

    @property
    def names_actor(self) -> bool:
        """Whether somebody is named."""
        return self.confidence is not Confidence.NONE


def fitting_operations(*, begun: Iterable[str] = (), ended: Iterable[str] = ()) -> frozenset[str]:
    """The operations that may bring these finding codes about, or end those."""
    causes = {operation for code in begun for operation in CODES[code].causes}
    return frozenset(causes.union(*(CODES[code].repairs for code in ended)))


def explain(
    operations: frozenset[str],
    heard: Sequence[Heard],
    *,
    after: datetime | None,
    before: datetime,
    explained_until: datetime | None = None,
    vanished: frozenset[str] | None = None,
) -> Explanation:
    """Choose among what was heard about a key store the change that explains a drift: one of the `operations` that fit it.

    `after` is the last read that saw it otherwise (None: never read before), `before` the time of the finding; `vanished` the
    normalised ids of grants that counted before and no longer do (None: not known). Changes up to `explained_until` have
    explained an earlier drift already.
    """
    earliest = after - LAG if after else None
    fitting = [
        each
        for each in heard
        if each.notice.operation.lower() in operations
        and (earliest is None or each.occurred_at >= earliest)
        and each.occurred_at <= before + LAG
        and (explained_until is None or each.occurred_at > explained_until)
        and _may_be_it(each.notice, vanished)
    ]
    if not fitting:
        return Explanation.none()
    exact = [each for each in fitting if each.notice.resource_id.key in (vanished or ())]
    joined = _joined_by_correlation(fitting, heard)
    if joined is not None:
        others = {each.person for each in exact or fitting if each.person is not None} - {joined.person}
        return Explanation(heard=joined, confidence=Confidence.LIKELY if others else Confidence.CERTAIN)
    # An ARM event names its caller, Key Vault's own event of the same change does not
    chosen = max(fitting, key=lambda each: (each.person is not None, each in exact, each.occurred_at))
    if chosen.person is None:
        return Explanation(heard=chosen, confidence=Confidence.NONE)
    people = {each.person for each in exact or fitting if each.person is not None}
    # Which assignments counted before is not known, so this deletion may be another principal's
    guessed = _deletes_assignment(chosen.notice) and not exact
    # A read after the change still saw it otherwise: either that read lagged, or it was something else
    seen_harmless = after is not None and chosen.occurred_at < after and not exact
    doubtful = len(people) > 1 or guessed or seen_harmless
    return Explanation(heard=chosen, confidence=Confidence.LIKELY if doubtful else Confidence.CERTAIN)


def _joined_by_correlation(fitting: Sequence[Heard], heard: Sequence[Heard]) -> Heard | None:
    """The newest fitting notice that names nobody, with the actor of another notice of the same request.

    A `correlationId` is of one request to ARM, whichever of its events names the caller. Where several people share one it names
    none of them.
    """
    for bare in sorted((each for each in fitting if each.person is None), key=lambda each: each.occurred_at, reverse=True):
        request = bare.notice.correlation_id
        named = [each for each in heard if request and each.notice.correlation_id == request and each.person is not None]
        if len({each.person for each in named}) == 1:
            return replace(bare, notice=replace(bare.notice, actor=named[0].notice.actor))
    return None


def _may_be_it(notice: ChangeNotice, vanished: frozenset[str] | None) -> bool:
    # Where it is known which grants vanished, the deletion of another assignment explains nothing
    return vanished is None or not _deletes_assignment(notice) or notice.resource_id.key in vanished


def _deletes_assignment(notice: ChangeNotice) -> bool:
    return notice.operation.lower() == f"{ROLE_ASSIGNMENT}/delete"
