"""`keydrift scan`: the same reads and the same decisions as the monitor's, once and without a state store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from types import MappingProxyType

from keydrift.access.key_state import Horizon
from keydrift.access.verdict import decide
from keydrift.collect import Known
from keydrift.declared import NOT_EXEMPT, ExemptionOutcome, declared_bindings, exempted, not_found
from keydrift.discovery import visible
from keydrift.facts import Unread
from keydrift.inventory import discover
from keydrift.judgement import Policy
from keydrift.model import KeyBinding, State, Verdict
from keydrift.ports import Clock, Consumers
from keydrift.sweep import AllStores, Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanResult:
    """Every verdict, and what could not be read: for the verdicts and for the inventory itself. `exemptions` by binding id."""

    verdicts: tuple[Verdict, ...]
    unread: tuple[Unread, ...]
    inventory_unread: tuple[Unread, ...]
    exemptions: Mapping[str, ExemptionOutcome] = field(default_factory=lambda: MappingProxyType({}))
    tenant_id: str | None = None

    def exemption(self, verdict: Verdict) -> ExemptionOutcome:
        """The exemption of one of the verdicts."""
        return self.exemptions.get(verdict.binding.id, NOT_EXEMPT)

    def exit_status(self, fail_on: State = State.LOST) -> int:
        """0 nothing lost or unknown, 1 something lost (or at the level asked for), 3 something unknown.

        An inventory that could not be read is unknown too: a binding may hide there. An exempted verdict counts as held.
        """
        states = {verdict.state for verdict in self.verdicts if not self.exemption(verdict).exempted}
        if any(state.rank >= fail_on.rank and state is not State.UNKNOWN for state in states):
            return 1
        return 3 if State.UNKNOWN in states or self.inventory_unread else 0


async def scan(
    *,
    consumers: Consumers,
    bulk: AllStores,
    clock: Clock,
    policy: Policy,
    subscriptions: Sequence[str],
    progress: Progress | None = None,
) -> ScanResult:
    """Find every key binding, read, decide. Never raises for a failed read."""
    say = progress or (lambda _what, _done, _total: None)
    say("reading the inventory", 0, 0)
    wanted, unlisted = await visible(consumers, subscriptions)
    inventory = await consumers.read(wanted)
    discovered = discover(inventory, policy.backup_app_id, policy.tags)
    bindings = declared_bindings(policy.declarations, discovered, inventory, policy.backup_app_id, policy.tags)
    dangling = not_found(policy.declarations, bindings, inventory)
    judged_at: defaultdict[str, list[KeyBinding]] = defaultdict(list)
    for binding in bindings:
        judged_at[binding.target.uri.host].append(binding)
    known = Known(declared=policy.declared, tenant_id=policy.tenant_id, count_versions=frozenset(judged_at))
    verdicts: list[Verdict] = []
    async with aclosing(bulk.collect_all(bindings, known, progress=say)) as stores:
        async for host, facts in stores:
            horizon = Horizon(now=clock.now(), key_expiry=policy.key_expiry, grant_expiry=policy.grant_expiry)
            verdicts += [decide(binding, facts, horizon) for binding in judged_at.get(host, ())]
    verdicts.sort(key=lambda verdict: (verdict.binding.target.uri.host, verdict.binding.id))
    missing = (*unlisted, *inventory.unread)
    unread = tuple(dict.fromkeys((*missing, *dangling, *(each for v in verdicts for each in v.unread))))
    now = clock.now()
    exemptions = {v.binding.id: exempted(v, policy.declarations.exemptions, now) for v in verdicts}
    return ScanResult(
        verdicts=tuple(verdicts),
        unread=unread,
        inventory_unread=missing,
        exemptions=exemptions,
        tenant_id=policy.tenant_id,
    )
