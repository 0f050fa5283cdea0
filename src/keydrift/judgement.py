"""A verdict beside what was remembered of its key binding: the record to keep, and the alerts that it causes. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from keydrift.access.key_state import Horizon
from keydrift.access.verdict import decide
from keydrift.alerts import blind_spot
from keydrift.alerts.history import Remembered
from keydrift.alerts.lifecycle import USUAL, Lifecycle, follow
from keydrift.alerts.record import BindingRecord
from keydrift.alerts.repointing import tell_repointing
from keydrift.declared import NOTHING_DECLARED, Declarations, ExemptionOutcome, exempted
from keydrift.document import verdict_document
from keydrift.drift import Alert, Moment
from keydrift.facts import Facts, Principal
from keydrift.inventory import ANY_TAGS, TagNames
from keydrift.model import KeyBinding, State, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How verdicts are made here: the horizon of expiries, the tenant, principals that are declared rather than read, and what
    the watchlist file declares."""

    backup_app_id: str
    key_expiry: timedelta
    grant_expiry: timedelta = timedelta(days=14)
    tenant_id: str | None = None
    declared: dict[str, Principal]
    declarations: Declarations = NOTHING_DECLARED
    lifecycle: Lifecycle = USUAL
    tags: TagNames = ANY_TAGS


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One verdict beside what was remembered: the record to keep, and the alerts that it causes, in order."""

    verdict: Verdict
    remembered: Remembered | None
    record: BindingRecord
    exemption: ExemptionOutcome
    alerts: tuple[Alert, ...] = ()
    awaits_second_read: bool = False
    held_back: bool = False
    outdated: bool = False

    @property
    def is_news(self) -> bool:
        """Whether anything came of it that a single read in bulk should not settle."""
        pending = self.remembered is not None and self.remembered.record.pending_unknown_since is not None
        return bool(self.alerts) or self.held_back or self.awaits_second_read or pending

    def to_keep(self) -> Remembered | None:
        """What has to be written of it; None where nothing but the time of the read differs, or newer facts are recorded.

        A binding of several key stores is always written: its own `read_at` is what keeps an older read of one store from
        overwriting a newer one of another.
        """
        if self.outdated:
            return None
        last, posture = self.remembered, verdict_document(self.verdict, self.exemption)
        kept = replace(last or Remembered(record=self.record), record=self.record, posture=posture)
        if last is None or self.alerts or len(self.verdict.binding.hosts) > 1:
            return kept
        same = replace(self.record, read_at=None) == replace(last.record, read_at=None)
        return None if same and {**posture, "read_at": None} == {**(last.posture or {}), "read_at": None} else kept


def decided(bindings: Iterable[KeyBinding], facts: Facts, policy: Policy, now: datetime) -> list[Verdict]:
    """The verdicts of these bindings."""
    horizon = Horizon(now=now, key_expiry=policy.key_expiry, grant_expiry=policy.grant_expiry)
    return [decide(binding, facts, horizon) for binding in bindings]


def judged(verdict: Verdict, at: Moment, remembered: Remembered | None, previous_read: datetime | None, policy: Policy) -> Judged:
    """Compare a verdict with what was remembered. `previous_read` is when the key store was read before."""
    last = remembered.record if remembered else BindingRecord.created(verdict.binding.id, at.now)
    shown = blind_spot.shown(last.standing, verdict)
    exemptions = policy.declarations.exemptions
    exemption = exempted(shown, exemptions, at.now)
    if last.read_at is not None and verdict.read_at < last.read_at:
        return Judged(verdict=verdict, remembered=remembered, record=last, exemption=exemption, outdated=True)
    reads = [read for read in (last.read_at, previous_read if remembered else None) if read is not None]
    told, notice = tell_repointing(replace(last, read_at=max(reads, default=None)), verdict, at)
    outcome = follow(told, shown, replace(at, exemption=exemption, repointed=notice is not None), policy.lifecycle)
    record, alerts = outcome.record, list(outcome.alerts)
    if notice is not None:
        # The exemption of the notice is its own: that of the verdict is about the findings of the new key
        own = exempted(replace(notice.verdict, state=State.AT_RISK, findings=notice.verdict.findings[:1]), exemptions, at.now)
        alerts.insert(0, replace(notice, exempted=own.exempted, exemption_reason=own.note))
        explained = [t for t in (record.explained_until, notice.explanation.occurred_at) if t is not None]
        record = replace(record, explained_until=max(explained, default=None))
    return Judged(
        verdict=verdict,
        remembered=remembered,
        record=record,
        exemption=exemption,
        alerts=tuple(alerts),
        awaits_second_read=outcome.awaits_second_read,
        held_back=outcome.held_back,
    )
