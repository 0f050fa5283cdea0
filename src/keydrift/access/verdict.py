"""The decision: one key binding and the facts in, one verdict with findings and proof out.

One cause, one code, most specific first: key store, identity and principal, permission model, deny, grants. What stands further
down is not reported when something further up explains it. Key, secret, network and protection findings stand beside them. The
state is the worst level present: lost > unknown > at_risk > held.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from keydrift.access import blind_spots, key_store
from keydrift.access.finding import finding
from keydrift.access.identity import IdentityOutcome, judge_identity
from keydrift.access.key_state import Horizon, judge_objects
from keydrift.access.permission import PermissionOutcome, judge_permissions, judge_support, model_of
from keydrift.facts import Facts, KeyStore, KeyVault, ManagedHsm, StoreFacts, Unread
from keydrift.model import BlindSpot, Effect, Finding, KeyBinding, PermissionModel, ProofStep, Scenario, State, Verdict


def decide(binding: KeyBinding, facts: Facts, horizon: Horizon) -> Verdict:
    """Judge one key binding. Never raises for what the facts hold or lack: an unread fact is `unknown`."""
    identity = judge_identity(binding, facts)
    findings: list[Finding] = list(identity.findings)
    permissions: list[PermissionOutcome] = []
    blind = list(blind_spots.of_principal(identity))
    for host in _hosts(binding):
        store_facts = facts.stores.get(host)
        absent = key_store.judge_presence(binding, host, store_facts)
        if absent is not None or store_facts is None:
            findings += [absent] if absent else []
            blind += blind_spots.of_key_store(host, store_facts)
            continue
        store = _readable(store_facts)
        stray = key_store.judge_tenant(binding, store, identity.principal, facts.tenant_id)
        findings += [stray] if stray else []
        findings += key_store.judge_settings(binding, store)
        findings += judge_support(binding, store)
        if stray is None and not _explained(identity):
            permissions.append(judge_permissions(binding, host, store_facts, facts, identity.principal, horizon))
    findings += [f for outcome in permissions for f in outcome.findings]
    findings += judge_objects(binding, facts, horizon)
    findings += _consumers(binding)
    blind += [spot for outcome in permissions for spot in outcome.blind_spots]
    blind += blind_spots.of_objects(binding, facts)
    return _verdict(binding, facts, identity, findings, permissions, blind)


def _hosts(binding: KeyBinding) -> tuple[str, ...]:
    """The key's own store first, then the secrets', each once."""
    return tuple(dict.fromkeys(each.uri.host for each in binding.objects))


def _readable(facts: StoreFacts) -> KeyStore:
    assert isinstance(facts.store, KeyVault | ManagedHsm)
    return facts.store


def _explained(identity: IdentityOutcome) -> bool:
    """Whether nothing can be said of grants: the identity is lost, or nobody knows its object id."""
    return identity.principal is None or any(f.level is State.LOST for f in identity.findings)


def _consumers(binding: KeyBinding) -> Iterator[Finding]:
    """What the consumers say of themselves."""
    for consumer in binding.consumers:
        state = (consumer.encryption_state or "").lower()
        if binding.scenario is Scenario.BACKUP_VAULT_CMK and state == "inconsistent":
            yield finding(
                "encryption-inconsistent",
                binding,
                f"backup vault `{consumer.id.name}` reports encryption state Inconsistent",
                {"id": str(consumer.id), "state": consumer.encryption_state},
                f"repeat the encryption settings of {consumer.id} once the identity can use the key",
            )
    if binding.scenario is Scenario.CVM_DES:
        stalled = {c.rotation_error for c in binding.consumers if c.rotation_error}
        for error in sorted(stalled):
            yield finding(
                "key-rotation-stalled",
                binding,
                f"the disk encryption set reports that key rotation fails: {error}",
                {"id": binding.identity.reference, "autoKeyRotationError": error},
                f"az disk-encryption-set update --ids {binding.identity.reference} --enable-auto-key-rotation true",
            )


def _verdict(
    binding: KeyBinding,
    facts: Facts,
    identity: IdentityOutcome,
    found: Iterable[Finding],
    permissions: list[PermissionOutcome],
    blind: list[BlindSpot],
) -> Verdict:
    shown = tuple(found)
    findings = _settled(tuple(dict.fromkeys(_hashable(f) for f in shown)), shown) if shown else ()
    state = max((f.level for f in findings), key=lambda level: level.rank, default=State.HELD)
    own = facts.stores.get(binding.target.uri.host)
    store = own.store if own is not None and isinstance(own.store, KeyVault | ManagedHsm) else None
    return Verdict(
        binding=binding,
        state=state,
        read_at=facts.read_at,
        findings=findings,
        missing=tuple(dict.fromkeys(name for outcome in permissions for name in outcome.missing)),
        proof=tuple(step for outcome in permissions for step in outcome.steps),
        unread=unread_in(facts),
        blind_spots=tuple(blind),
        permission_model=_model(binding, store),
        principal=identity.principal,
        key_store=store,
    )


def _hashable(found: Finding) -> tuple[str, str]:
    return found.code, found.summary


def _settled(order: tuple[tuple[str, str], ...], found: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Each finding once; where something is lost, a read that could not change that is not reported as needed."""
    unique = {_hashable(f): f for f in reversed(found)}
    findings = [unique[key] for key in order]
    if any(f.level is State.LOST for f in findings):
        findings = [f for f in findings if f.level is not State.UNKNOWN]
    return tuple(sorted(findings, key=lambda f: -f.level.rank))


def _model(binding: KeyBinding, store: KeyStore | None) -> PermissionModel | None:
    if store is not None:
        return model_of(store)
    return PermissionModel.MANAGED_HSM if binding.target.uri.is_managed_hsm else None


def unread_in(facts: Facts) -> tuple[Unread, ...]:
    """Every read in the facts that failed, each once."""
    reads: list[object] = [*facts.principals.values(), *facts.groups.values()]
    for store in facts.stores.values():
        reads += [store.store, store.deleted, store.denies, store.hsm_definitions, *store.uncounted]
        for group in (store.objects, store.assignments, store.schedule_instances, store.definitions, store.hsm_assignments):
            if group:
                reads += group.values()
    unread = [read for read in reads if isinstance(read, Unread)]
    return tuple(dict.fromkeys(unread)) if unread else ()


def granting(verdict: Verdict) -> tuple[ProofStep, ...]:
    """The grants that count in a verdict's proof: what a later loss can say has vanished."""
    return tuple(step for step in verdict.proof if step.effect in (Effect.GRANTS, Effect.PARTLY))
