"""One key store: collect the facts, decide, compare, record, deliver.

INVARIANT (record, then deliver): a verdict and its alert are one atomic write; the key store's `read_at` is written after all of
them, delivery follows, then the alert is marked delivered. A crash anywhere repeats work and loses nothing.
INVARIANT (monotonic reads): facts older than those recorded are discarded, never compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from logging import getLogger

from keydrift.access.key_state import Horizon
from keydrift.access.verdict import decide
from keydrift.alerts import blind_spot
from keydrift.alerts.actor import Heard
from keydrift.alerts.lifecycle import USUAL, Lifecycle, follow, retire
from keydrift.alerts.record import BindingRecord
from keydrift.alerts.repointing import tell_repointing
from keydrift.alerts.row import alert_row, posture_row
from keydrift.bulk.lists import Spread
from keydrift.catalogue import CODES
from keydrift.collect import Collector, Known
from keydrift.declared import NOTHING_DECLARED, Declarations, ExemptionOutcome, exempted
from keydrift.delivery import Deliverer
from keydrift.document import verdict_document
from keydrift.drift import Alert, Moment, Via
from keydrift.facts import Facts, Principal, Unread
from keydrift.inventory import ANY_TAGS, TagNames
from keydrift.model import BlindSpot, Finding, KeyBinding, State, Verdict
from keydrift.ports import Clock, DeliveryError, RecheckQueue, RowSink, StateConflictError
from keydrift.recheck import Recheck
from keydrift.restraint import SETTLE_AFTER
from keydrift.state import Remembered
from keydrift.state import State as Memory
from keydrift.store_record import StoreRecord, advanced, count_is_due, counts_of, objects_known
from keydrift.watchlist import home_of

log = getLogger(__name__)

CONFIRM_DRIFT_AFTER = timedelta(minutes=10)
SECOND_READ_AFTER = timedelta(minutes=1)


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
class _Judged:
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


class Reconciler:
    """Brings the records of one key store's bindings up to what Azure says now. `posture` takes the last proofs of sweeps."""

    def __init__(
        self,
        *,
        memory: Memory,
        queue: RecheckQueue,
        collector: Collector,
        deliverer: Deliverer,
        clock: Clock,
        policy: Policy,
        posture: RowSink | None = None,
    ) -> None:
        self._memory, self._queue, self._collector = memory, queue, collector
        self._deliverer, self._clock, self._policy, self._posture = deliverer, clock, policy, posture

    async def reconcile(self, recheck: Recheck) -> None:
        """Answer a recheck. Raises StateConflictError where another worker was faster: then it has to be done again."""
        store = await self._memory.store(recheck.host)
        if store.read_at is not None and store.read_at > recheck.noticed_at:
            await self._answered(store, recheck)
            return
        if await self._held_back(store, recheck):
            return
        bindings = (await self._memory.watchlist()).at(recheck.host)
        if not bindings:
            return
        counting = recheck.via is not Via.EVENT and count_is_due(store, self._clock.now())
        facts = await self._collector.collect(bindings, await self._known(store, bindings, counting=counting))
        now = self._clock.now()
        verdicts = self._decided(bindings, facts, now)
        if (await self._memory.store(recheck.host)).etag != store.etag:
            raise StateConflictError(f"`{recheck.host}` was read and recorded by another worker meanwhile")
        if (await self._memory.watchlist()).at(recheck.host) != bindings:
            raise StateConflictError(f"what needs the keys of `{recheck.host}` has changed while it was read")
        moment = Moment(now=now, via=recheck.via, heard=await self._heard(recheck.host, bindings, now))
        kept: list[_Judged] = []
        try:
            for verdict in verdicts:
                judged = self._judged(verdict, moment, await self._memory.remembered(verdict.binding.id), store.read_at)
                await self._keep(judged)
                kept.append(judged)
            await self._follow_up(recheck, kept, now)
            objects = objects_known(store, facts, None, facts.read_at) if store.objects else {}
            restraint = store.restraint.after(recheck.via, now, news=any(each.is_news for each in kept))
            read = advanced(store, facts, counted=counting, objects=objects)
            await self._memory.put_store(replace(read, restraint=restraint))
        finally:
            # Also where another worker was faster: the next try finds these alerts recorded, and would leave them to the timer
            await self._deliverer.deliver_for(each.record.binding_id for each in kept if each.alerts)
        if recheck.sweep:
            await self.send_posture(self._posture_rows(kept, recheck.sweep, now))

    async def _heard(self, host: str, bindings: Sequence[KeyBinding], now: datetime) -> tuple[Heard, ...]:
        """The notices about a key store, and those that concerned many of its subscription's."""
        home = home_of(host, bindings)
        return (*await self._memory.heard(host, now), *(await self._memory.heard(home, now) if home else ()))

    async def _answered(self, store: StoreRecord, recheck: Recheck) -> None:
        """A notice that facts read since answer: they may be stale for it, so there has to be a reread when Azure has settled."""
        log.debug("answered by facts read since", extra={"key_store": recheck.host})
        now = self._clock.now()
        if recheck.via is not Via.EVENT or store.restraint.covers(recheck.noticed_at):
            return
        later = Recheck(host=recheck.host, noticed_at=now + SETTLE_AFTER, via=Via.SETTLE)
        await self._queue.put(later.body(), delay_s=SETTLE_AFTER.total_seconds())
        await self._memory.put_store(replace(store, restraint=replace(store.restraint, settles_at=later.noticed_at)))

    async def _held_back(self, store: StoreRecord, recheck: Recheck) -> bool:
        """Whether one of a crowd has to wait, since the key store was read in vain often enough; it is put back then."""
        now = self._clock.now()
        until = store.restraint.holds_until(recheck.via, recheck.crowd, now)
        if until is None:
            return False
        log.debug("held back: it was read in vain", extra={"key_store": recheck.host})
        again = replace(recheck, consumers=False, subscriptions=())
        await self._queue.put(again.body(), delay_s=(until - now).total_seconds())
        return True

    async def absorb(
        self,
        store: StoreRecord,
        bindings: Sequence[KeyBinding],
        facts: Facts,
        *,
        counted: bool,
        spread: Spread | None,
        sweep: str,
    ) -> tuple[dict[str, object], ...] | None:
        """Take facts that a sweep read in bulk since `store` was read from state; returns the posture rows (no `sweep`, no rows).

        None where they differ from what is recorded: a difference is confirmed by a fresh read of that key store alone, since a
        list shows what the monitor may see and not why it may not see the rest (architecture, "monotonic reads").
        """
        if (await self._memory.store(store.host)).etag != store.etag:
            return ()  # an event's recheck was faster, and has recorded newer facts
        now = self._clock.now()
        remembered = [await self._memory.remembered(each.id) for each in bindings]
        open_ones = any(each is not None and each.record.standing is not None for each in remembered)
        moment = Moment(now=now, via=Via.SWEEP, heard=await self._heard(store.host, bindings, now) if open_ones else ())
        judged = [
            self._judged(verdict, moment, known, store.read_at)
            for verdict, known in zip(self._decided(bindings, facts, now), remembered, strict=True)
        ]
        if any(each.is_news for each in judged):
            return None
        try:
            for each in judged:
                await self._keep(each)
            objects = objects_known(store, facts, spread.turn, now) if spread else {}
            await self._memory.put_store(advanced(store, facts, counted=counted, objects=objects))
        except StateConflictError:
            return ()
        return self._posture_rows(judged, sweep, now)

    def _decided(self, bindings: Sequence[KeyBinding], facts: Facts, now: datetime) -> list[Verdict]:
        horizon = Horizon(now=now, key_expiry=self._policy.key_expiry, grant_expiry=self._policy.grant_expiry)
        return [decide(binding, facts, horizon) for binding in bindings]

    async def _known(self, store: StoreRecord, bindings: Sequence[KeyBinding], *, counting: bool) -> Known:
        counts = counts_of(store)
        # A key in another store than its secret is counted with that store: what was counted there stands here too
        for host in sorted({binding.target.uri.host for binding in bindings} - {store.host}):
            counts |= counts_of(await self._memory.store(host))
        return Known(
            object_ids=store.object_ids,
            answered=frozenset({store.host}) if store.answered else frozenset(),
            declared=self._policy.declared,
            tenant_id=self._policy.tenant_id,
            count_versions=frozenset({store.host}) if counting else frozenset(),
            version_counts=counts,
        )

    def _judged(self, verdict: Verdict, at: Moment, remembered: Remembered | None, previous_read: datetime | None) -> _Judged:
        last = remembered.record if remembered else BindingRecord.created(verdict.binding.id, at.now)
        shown = blind_spot.shown(last.standing, verdict)
        exemptions = self._policy.declarations.exemptions
        exemption = exempted(shown, exemptions, at.now)
        if last.read_at is not None and verdict.read_at < last.read_at:
            return _Judged(verdict=verdict, remembered=remembered, record=last, exemption=exemption, outdated=True)
        reads = [read for read in (last.read_at, previous_read if remembered else None) if read is not None]
        told, notice = tell_repointing(replace(last, read_at=max(reads, default=None)), verdict, at)
        outcome = follow(told, shown, replace(at, exemption=exemption, repointed=notice is not None), self._policy.lifecycle)
        record, alerts = outcome.record, list(outcome.alerts)
        if notice is not None:
            # The exemption of the notice is its own: that of the verdict is about the findings of the new key
            own = exempted(replace(notice.verdict, state=State.AT_RISK, findings=notice.verdict.findings[:1]), exemptions, at.now)
            alerts.insert(0, replace(notice, exempted=own.exempted, exemption_reason=own.note))
            explained = [t for t in (record.explained_until, notice.explanation.occurred_at) if t is not None]
            record = replace(record, explained_until=max(explained, default=None))
        return _Judged(
            verdict=verdict,
            remembered=remembered,
            record=record,
            exemption=exemption,
            alerts=tuple(alerts),
            awaits_second_read=outcome.awaits_second_read,
            held_back=outcome.held_back,
        )

    async def _keep(self, judged: _Judged) -> None:
        if judged.outdated:
            return
        remembered, posture = judged.remembered, verdict_document(judged.verdict, judged.exemption)
        if remembered is None or not _unchanged(remembered, judged, posture):
            kept = replace(remembered or Remembered(record=judged.record), record=judged.record, posture=posture)
            await self._memory.record(kept, [alert_row(each, self._policy.tenant_id) for each in judged.alerts])

    def _posture_rows(self, judged: Iterable[_Judged], sweep: str, now: datetime) -> tuple[dict[str, object], ...]:
        shown = [each for each in judged if sweep and not each.outdated]
        return tuple(posture_row(each.verdict, each.exemption, sweep, now, self._policy.tenant_id) for each in shown)

    async def send_posture(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Send the last proofs. What is not accepted is not sent again: the next sweep's rows take its place."""
        if not rows or self._posture is None:
            return
        try:
            await self._posture.send(rows)
        except DeliveryError as error:
            log.warning("posture rows were not accepted", extra={"rows": len(rows), "reason": str(error)})

    async def _follow_up(self, recheck: Recheck, judged: Sequence[_Judged], now: datetime) -> None:
        due: list[tuple[timedelta, Via]] = []
        if recheck.via is Via.EVENT:
            due.append((SETTLE_AFTER, Via.SETTLE))
        if any(each.alerts for each in judged):
            due.append((CONFIRM_DRIFT_AFTER, Via.SETTLE))
        if any(each.awaits_second_read for each in judged):
            due.append((SECOND_READ_AFTER, recheck.via))
        if any(each.held_back for each in judged):
            due.append((self._policy.lifecycle.damping.quiet, Via.SETTLE))
        for delay, via in due:
            later = Recheck(host=recheck.host, noticed_at=now + delay, via=via)
            await self._queue.put(later.body(), delay_s=delay.total_seconds())

    async def fail(self, host: str, reason: str) -> None:
        """Record `recheck-failed` for every binding of a key store whose recheck failed for good."""
        now = self._clock.now()
        found = Finding(
            code="recheck-failed",
            level=State.UNKNOWN,
            summary=f"rechecks of key store `{host}` fail: {reason}",
            evidence={"keyStore": host, "reason": reason},
            remediation="look at the function app's log for the error; the sweep tries again",
        )
        # Nothing was read, so nothing that was told is known to have ended
        unread = Unread(source=f"key store {host}", status=None, code="RecheckFailed", repair=found.remediation)
        blind = BlindSpot(unread=unread, codes=frozenset(CODES))
        moment = Moment(now=now, via=Via.SWEEP, confirmed=True)
        bindings = (await self._memory.watchlist()).at(host)
        for binding in bindings:
            verdict = Verdict(binding=binding, state=State.UNKNOWN, read_at=now, findings=(found,), blind_spots=(blind,))
            await self._keep(self._judged(verdict, moment, await self._memory.remembered(binding.id), None))
        await self._deliverer.deliver_for(binding.id for binding in bindings)

    async def retire(self, bindings: Iterable[KeyBinding]) -> None:
        """Resolve what is open for bindings that nothing needs any more."""
        now = self._clock.now()
        for binding in bindings:
            remembered = await self._memory.remembered(binding.id)
            if remembered is None:
                continue
            verdict = Verdict(binding=binding, state=State.HELD, read_at=now)
            outcome = retire(remembered.record, verdict, Moment(now=now, via=Via.SWEEP))
            if outcome.alerts:
                kept = replace(remembered, record=outcome.record, posture=None)
                await self._memory.record(kept, [alert_row(each, self._policy.tenant_id) for each in outcome.alerts])
                await self._deliverer.deliver_for([binding.id])


def _unchanged(remembered: Remembered, judged: _Judged, posture: dict[str, object]) -> bool:
    """Whether nothing but the time of the read differs. A binding of several key stores is always written: its own `read_at` is
    what keeps an older read of one store from overwriting a newer one of another."""
    if judged.alerts or len(judged.verdict.binding.hosts) > 1:
        return False
    same = replace(judged.record, read_at=None) == replace(remembered.record, read_at=None)
    return same and {**posture, "read_at": None} == {**(remembered.posture or {}), "read_at": None}
