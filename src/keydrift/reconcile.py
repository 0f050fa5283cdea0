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

from keydrift.alerts.actor import Heard
from keydrift.alerts.lifecycle import retire
from keydrift.alerts.row import alert_row, posture_row
from keydrift.bulk.lists import Spread
from keydrift.catalogue import CODES
from keydrift.collect import Collector, Known
from keydrift.declared import NOT_EXEMPT
from keydrift.delivery import Deliverer
from keydrift.drift import Moment, Via
from keydrift.facts import Facts, Unread
from keydrift.judgement import Judged, Policy, decided, judged
from keydrift.model import BlindSpot, Finding, KeyBinding, State, Verdict
from keydrift.ports import Clock, DeliveryError, RecheckQueue, RowSink, StateConflictError
from keydrift.recheck import Recheck
from keydrift.rest import digest_of, digest_of_judged
from keydrift.restraint import SETTLE_AFTER
from keydrift.state import State as Memory
from keydrift.store_record import StoreRecord, advanced, count_is_due, counts_of, objects_known
from keydrift.watchlist import home_of

log = getLogger(__name__)

CONFIRM_DRIFT_AFTER = timedelta(minutes=10)
SECOND_READ_AFTER = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class InBulk:
    """How facts were read in bulk: whether versions were counted, whose turn it was where keys are read in turns, and the sweep
    whose posture rows are wanted (empty: none)."""

    counted: bool
    spread: Spread | None
    sweep: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Absorbed:
    """What came of facts that were read in bulk: posture rows; `overtaken` where another worker was faster: nothing was kept."""

    rows: tuple[dict[str, object], ...] = ()
    overtaken: bool = False


OVERTAKEN = Absorbed(overtaken=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmoved:
    """A key store at rest whose verdicts are what they were: its record as it is to be kept, and the posture rows to send."""

    record: StoreRecord
    rows: tuple[dict[str, object], ...]


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
        verdicts = decided(bindings, facts, self._policy, now)
        if (await self._memory.store(recheck.host)).etag != store.etag:
            raise StateConflictError(f"`{recheck.host}` was read and recorded by another worker meanwhile")
        if (await self._memory.watchlist()).at(recheck.host) != bindings:
            raise StateConflictError(f"what needs the keys of `{recheck.host}` has changed while it was read")
        moment = Moment(now=now, via=recheck.via, heard=await self._heard(recheck.host, bindings, now))
        all_judged = await self._beside_remembered(verdicts, moment, store.read_at)
        kept: list[Judged] = []
        try:
            await self._keep(recheck.host, all_judged, kept, now)
            await self._follow_up(recheck, kept, now)
            objects = objects_known(store, facts, None, facts.read_at) if store.objects else {}
            restraint = store.restraint.after(recheck.via, now, news=any(each.is_news for each in kept))
            read = advanced(store, facts, counted=counting, objects=objects)
            await self._memory.put_store(replace(read, restraint=restraint, at_rest=digest_of_judged(kept)))
        finally:
            # Also where another worker was faster: the next try finds these alerts recorded, and would leave them to the timer
            await self._deliverer.deliver_for(each.record.binding_id for each in kept if each.alerts)
        if recheck.sweep:
            await self.send_posture(self._posture_rows(kept, recheck.sweep, now))

    async def _beside_remembered(self, verdicts: Iterable[Verdict], moment: Moment, read_at: datetime | None) -> list[Judged]:
        return [judged(v, moment, await self._memory.remembered(v.binding.id), read_at, self._policy) for v in verdicts]

    async def _keep(self, host: str, all_judged: Iterable[Judged], kept: list[Judged], now: datetime) -> None:
        """Write what differs, the key store stirred first; `kept` takes each whose record stands. Raises StateConflictError."""
        is_stirred = False
        for each in all_judged:
            if (differs := each.to_keep()) is not None:
                # What is not there yet can be made by one worker only, so no digest speaks for it without having seen it
                if not is_stirred and differs.etag is not None:
                    await self._memory.stir(host, now)
                    is_stirred = True
                await self._memory.record(differs, [alert_row(alert, self._policy.tenant_id) for alert in each.alerts])
            kept.append(each)

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

    async def absorb(self, store: StoreRecord, bindings: Sequence[KeyBinding], facts: Facts, how: InBulk) -> Absorbed | None:
        """Take facts that a sweep read in bulk since `store` was read from state.

        None where they differ from what is recorded: a difference is confirmed by a fresh read of that key store alone, since a
        list shows what the monitor may see and not why it may not see the rest (architecture, "monotonic reads").
        """
        if (await self._memory.store(store.host)).etag != store.etag:
            return OVERTAKEN  # an event's recheck was faster, and has recorded newer facts
        now = self._clock.now()
        remembered = [await self._memory.remembered(each.id) for each in bindings]
        open_ones = any(each is not None and each.record.standing is not None for each in remembered)
        moment = Moment(now=now, via=Via.SWEEP, heard=await self._heard(store.host, bindings, now) if open_ones else ())
        all_judged = [
            judged(verdict, moment, known, store.read_at, self._policy)
            for verdict, known in zip(decided(bindings, facts, self._policy, now), remembered, strict=True)
        ]
        if any(each.is_news for each in all_judged):
            return None
        try:
            await self._keep(store.host, all_judged, [], now)
            objects = objects_known(store, facts, how.spread.turn, now) if how.spread else {}
            read = advanced(store, facts, counted=how.counted, objects=objects)
            await self._memory.put_store(replace(read, at_rest=digest_of_judged(all_judged)))
        except StateConflictError:
            return OVERTAKEN
        return Absorbed(rows=self._posture_rows(all_judged, how.sweep, now))

    def unmoved(self, store: StoreRecord, bindings: Sequence[KeyBinding], facts: Facts, how: InBulk) -> Unmoved | None:
        """What comes of the same facts as `absorb` takes where the key store is at rest and they move nothing; None where it is
        not, or they do."""
        if store.at_rest is None or (store.read_at is not None and facts.read_at < store.read_at):
            return None
        now = self._clock.now()
        verdicts = decided(bindings, facts, self._policy, now)
        if digest_of(verdicts) != store.at_rest:
            return None
        objects = objects_known(store, facts, how.spread.turn, now) if how.spread else {}
        shown = verdicts if how.sweep else []
        rows = tuple(posture_row(each, NOT_EXEMPT, how.sweep, now, self._policy.tenant_id) for each in shown)
        return Unmoved(record=advanced(store, facts, counted=how.counted, objects=objects), rows=rows)

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

    def _posture_rows(self, kept: Iterable[Judged], sweep: str, now: datetime) -> tuple[dict[str, object], ...]:
        shown = [each for each in kept if sweep and not each.outdated]
        return tuple(posture_row(each.verdict, each.exemption, sweep, now, self._policy.tenant_id) for each in shown)

    async def send_posture(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Send the last proofs. What is not accepted is not sent again: the next sweep's rows take its place."""
        if not rows or self._posture is None:
            return
        try:
            await self._posture.send(rows)
        except DeliveryError as error:
            log.warning("posture rows were not accepted", extra={"rows": len(rows), "reason": str(error)})

    async def _follow_up(self, recheck: Recheck, kept: Sequence[Judged], now: datetime) -> None:
        due: list[tuple[timedelta, Via]] = []
        if recheck.via is Via.EVENT:
            due.append((SETTLE_AFTER, Via.SETTLE))
        if any(each.alerts for each in kept):
            due.append((CONFIRM_DRIFT_AFTER, Via.SETTLE))
        if any(each.awaits_second_read for each in kept):
            due.append((SECOND_READ_AFTER, recheck.via))
        if any(each.held_back for each in kept):
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
        verdicts = [
            Verdict(binding=b, state=State.UNKNOWN, read_at=now, findings=(found,), blind_spots=(blind,)) for b in bindings
        ]
        await self._keep(host, await self._beside_remembered(verdicts, moment, None), [], now)
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
                await self._memory.stir(binding.target.uri.host, now)
                await self._memory.record(kept, [alert_row(each, self._policy.tenant_id) for each in outcome.alerts])
                await self._deliverer.deliver_for([binding.id])
