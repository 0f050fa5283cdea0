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
from keydrift.collect import Collector, Known
from keydrift.declared import NOTHING_DECLARED, Declarations, exempted
from keydrift.document import verdict_document
from keydrift.drift import BindingRecord, Comparison, Moment, Via, compare, retire
from keydrift.facts import Facts, KeyObject, KeyVault, ManagedHsm, Principal, StoreFacts, Unread
from keydrift.key_uri import KeyUri
from keydrift.model import Finding, KeyBinding, State, Verdict
from keydrift.ports import AlertSink, Clock, DeliveryError, RecheckQueue, StateConflictError
from keydrift.recheck import Recheck
from keydrift.row import alert_row
from keydrift.state import PendingAlert, Remembered, StoreRecord
from keydrift.state import State as Memory

log = getLogger(__name__)

# Azure's own reads can lag behind its events: an event may be followed by a stale answer (architecture, "Settle")
SETTLE_AFTER = timedelta(minutes=2)
CONFIRM_DRIFT_AFTER = timedelta(minutes=10)
SECOND_READ_AFTER = timedelta(minutes=1)
COUNT_VERSIONS_EVERY = timedelta(days=1)


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


class Reconciler:
    """Brings the records of one key store's bindings up to what Azure says now."""

    def __init__(
        self, *, memory: Memory, queue: RecheckQueue, collector: Collector, sink: AlertSink, clock: Clock, policy: Policy
    ) -> None:
        self._memory, self._queue, self._collector = memory, queue, collector
        self._sink, self._clock, self._policy = sink, clock, policy

    async def reconcile(self, recheck: Recheck) -> None:
        """Answer a recheck. Raises StateConflictError where another worker was faster: then it has to be done again."""
        store = await self._memory.store(recheck.host)
        if store.read_at is not None and store.read_at > recheck.noticed_at:
            log.debug("answered by facts read since", extra={"key_store": recheck.host})
            return
        bindings = (await self._memory.watchlist()).at(recheck.host)
        if not bindings:
            return
        counting = recheck.via is not Via.EVENT and _count_is_due(store, self._clock.now())
        facts = await self._collector.collect(bindings, await self._known(store, bindings, counting=counting))
        now = self._clock.now()
        horizon = Horizon(now=now, key_expiry=self._policy.key_expiry, grant_expiry=self._policy.grant_expiry)
        verdicts = [decide(binding, facts, horizon) for binding in bindings]
        if (await self._memory.store(recheck.host)).etag != store.etag:
            raise StateConflictError(f"`{recheck.host}` was read and recorded by another worker meanwhile")
        moment = Moment(now=now, via=recheck.via, heard=await self._memory.heard(recheck.host, now))
        outcomes: list[Comparison] = []
        try:
            for verdict in verdicts:
                outcomes.append(await self._record(verdict, moment, store.read_at))  # noqa: PERF401  # kept where a later one fails
            await self._follow_up(recheck, outcomes, now)
            await self._memory.put_store(_advanced(store, facts, counted=counting))
        finally:
            # Also where another worker was faster: the next try finds these alerts recorded, and would leave them to the timer
            await self.deliver_for(o.record.binding_id for o in outcomes if o.alert is not None)

    async def _known(self, store: StoreRecord, bindings: Sequence[KeyBinding], *, counting: bool) -> Known:
        counts = _counts(store)
        # A key in another store than its secret is counted with that store: what was counted there stands here too
        for host in sorted({binding.target.uri.host for binding in bindings} - {store.host}):
            counts |= _counts(await self._memory.store(host))
        return Known(
            object_ids=store.object_ids,
            answered=frozenset({store.host}) if store.answered else frozenset(),
            declared=self._policy.declared,
            tenant_id=self._policy.tenant_id,
            count_versions=frozenset({store.host}) if counting else frozenset(),
            version_counts=counts,
        )

    async def _record(self, verdict: Verdict, moment: Moment, previous_read: datetime | None) -> Comparison:
        remembered = await self._memory.remembered(verdict.binding.id)
        last = remembered.record if remembered else BindingRecord.created(verdict.binding.id, moment.now)
        if last.read_at is not None and verdict.read_at < last.read_at:
            return Comparison(record=last)
        reads = [read for read in (last.read_at, previous_read if remembered else None) if read is not None]
        exemption = exempted(verdict, self._policy.declarations.exemptions, moment.now)
        outcome = compare(replace(last, read_at=max(reads, default=None)), verdict, replace(moment, exemption=exemption))
        posture = verdict_document(verdict, exemption)
        if remembered is None or not _unchanged(remembered, outcome, posture, verdict.binding):
            kept = Remembered(record=outcome.record, posture=posture, etag=remembered.etag if remembered else None)
            await self._memory.record(kept, alert_row(outcome.alert, self._policy.tenant_id) if outcome.alert else None)
        return outcome

    async def _follow_up(self, recheck: Recheck, outcomes: Sequence[Comparison], now: datetime) -> None:
        due: list[tuple[timedelta, Via]] = []
        if recheck.via is Via.EVENT:
            due.append((SETTLE_AFTER, Via.SETTLE))
        if any(outcome.alert is not None for outcome in outcomes):
            due.append((CONFIRM_DRIFT_AFTER, Via.SETTLE))
        if any(outcome.awaits_second_read for outcome in outcomes):
            due.append((SECOND_READ_AFTER, recheck.via))
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
        moment = Moment(now=now, via=Via.SWEEP, confirmed=True)
        outcomes: list[Comparison] = []
        for binding in (await self._memory.watchlist()).at(host):
            verdict = Verdict(binding=binding, state=State.UNKNOWN, read_at=now, findings=(found,))
            outcomes.append(await self._record(verdict, moment, None))
        await self.deliver_for(o.record.binding_id for o in outcomes if o.alert is not None)

    async def retire(self, bindings: Iterable[KeyBinding]) -> None:
        """Resolve what is open for bindings that nothing needs any more."""
        now = self._clock.now()
        for binding in bindings:
            remembered = await self._memory.remembered(binding.id)
            if remembered is None:
                continue
            verdict = Verdict(binding=binding, state=State.HELD, read_at=now)
            outcome = retire(remembered.record, verdict, Moment(now=now, via=Via.SWEEP))
            if outcome.alert is not None:
                kept = Remembered(record=outcome.record, posture=None, etag=remembered.etag)
                await self._memory.record(kept, alert_row(outcome.alert, self._policy.tenant_id))
                await self.deliver_for([binding.id])

    async def deliver_for(self, binding_ids: Iterable[str]) -> None:
        """Deliver what these bindings have pending."""
        pending = [alert for each in dict.fromkeys(binding_ids) for alert in await self._memory.undelivered_of(each)]
        await self.deliver(pending)

    async def deliver(self, pending: Sequence[PendingAlert]) -> None:
        """Deliver alerts, then mark them delivered. What is not accepted stays pending for the timer."""
        if not pending:
            return
        try:
            await self._sink.send([alert.row for alert in pending])
        except DeliveryError as error:
            log.warning("alerts were not accepted and will be sent again", extra={"alerts": len(pending), "reason": str(error)})
            return
        await self._memory.delivered(pending)


def _count_is_due(store: StoreRecord, now: datetime) -> bool:
    """Whether to count the versions of the store's keys; an event's recheck never does, so that it stays as cheap as it is."""
    return store.versions_counted_at is None or now - store.versions_counted_at >= COUNT_VERSIONS_EVERY


def _counts(store: StoreRecord) -> dict[KeyUri, int]:
    return {KeyUri(store.host, "keys", name): count for name, count in store.version_counts.items()}


def _counted(store: StoreRecord, facts: StoreFacts) -> Mapping[str, int]:
    """The last count of each key that is still watched; a key that is gone, and may come back as another, has none."""
    counts = dict(_counts(store))
    counts |= {uri: each.versions for uri, each in facts.objects.items() if isinstance(each, KeyObject) and each.versions}
    return {uri.name: count for uri, count in counts.items() if isinstance(facts.objects.get(uri), KeyObject | Unread)}


def _advanced(store: StoreRecord, facts: Facts, *, counted: bool) -> StoreRecord:
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
    )


def _unchanged(remembered: Remembered, outcome: Comparison, posture: dict[str, object], binding: KeyBinding) -> bool:
    """Whether nothing but the time of the read differs. A binding of several key stores is always written: its own `read_at` is
    what keeps an older read of one store from overwriting a newer one of another."""
    if outcome.alert is not None or len(binding.hosts) > 1:
        return False
    same = replace(outcome.record, read_at=None) == replace(remembered.record, read_at=None)
    return same and {**posture, "read_at": None} == {**(remembered.posture or {}), "read_at": None}
