"""What holds of every decision: grants only help, denies only hurt, hiding only blinds, order is nothing, and it never raises."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import event, given, settings
from hypothesis import strategies as st

from keydrift.facts import KeyVault
from keydrift.model import State, Verdict
from keydrift.resource_id import ResourceId
from support.builders import judged
from support.strategies import Case, assignments, cases, denies, hidings, local_assignments, policies

USABLE = (State.HELD, State.AT_RISK)
ADVISORY = {"advisory-permission-missing"}


def decided(case: Case) -> Verdict:
    return judged(case.binding, case.facts)


@given(cases())
@settings(max_examples=200, deadline=None)
def test_decide_never_raises(case: Case) -> None:
    """Whatever the facts hold or lack, there is a verdict whose state is its worst finding and whose losses are explained."""
    verdict = decided(case)
    event(str(verdict.state))
    assert verdict.state is max((f.level for f in verdict.findings), key=lambda level: level.rank, default=State.HELD)
    assert not (verdict.state is State.HELD and verdict.missing)
    assert all(f.summary and f.remediation for f in verdict.findings)
    assert len({(f.code, f.summary) for f in verdict.findings}) == len(verdict.findings)
    if verdict.state is State.HELD:
        assert verdict.principal is not None
        assert verdict.key_store is not None


@given(cases(), st.data())
@settings(max_examples=150, deadline=None)
def test_adding_a_grant_never_loses(case: Case, data: st.DataObject) -> None:
    """One more role assignment, policy or local assignment takes nothing away."""
    before = decided(case)
    host = data.draw(st.sampled_from(sorted(case.facts.stores)))
    store, who = case.facts.stores[host], case.who
    more = case
    if isinstance(store.store, KeyVault):
        entries = (*store.store.access_policies, data.draw(policies(who)))
        more = more.with_store(host, store=replace(store.store, access_policies=entries))
    listed = store.assignments[who]
    if isinstance(listed, tuple):
        more = more.with_store(host, assignments={who: (*listed, data.draw(assignments(who)))})
    local = store.hsm_assignments["/"]
    if isinstance(local, tuple):
        more = more.with_store(host, hsm_assignments={**store.hsm_assignments, "/": (*local, data.draw(local_assignments(who)))})
    after = decided(more)
    assert set(after.missing) <= set(before.missing)
    if before.state in USABLE:
        assert after.state in USABLE


@given(cases(), st.data())
@settings(max_examples=150, deadline=None)
def test_adding_a_deny_never_gains(case: Case, data: st.DataObject) -> None:
    """One more deny assignment gives nothing, and on an access-policy vault or a Managed HSM it does nothing at all."""
    before = decided(case)
    host = data.draw(st.sampled_from(sorted(case.facts.stores)))
    store = case.facts.stores[host]
    if not isinstance(store.denies, tuple):
        return
    after = decided(case.with_store(host, denies=(*store.denies, data.draw(denies(case.who)))))
    assert set(after.missing) >= set(before.missing)
    assert after.state.rank >= before.state.rank
    if not (isinstance(store.store, KeyVault) and store.store.rbac):
        assert after == before


@given(cases())
@settings(max_examples=120, deadline=None)
def test_hiding_a_fact_only_blinds(case: Case) -> None:
    """A failed read makes a verdict unknown or leaves it; it never turns held into lost or lost into held."""
    before = decided(case)
    for name, hidden in hidings(case):
        after = decided(hidden)
        if after.state in (before.state, State.UNKNOWN):
            continue
        # Doubt about an advisory permission is no finding, so it may only end that one
        assert before.state in USABLE, name
        assert after.state in USABLE, name
        assert before.codes ^ after.codes <= ADVISORY, name


@given(cases(), st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_order_is_neutral(case: Case, random: object) -> None:
    """In whatever order Azure lists policies, assignments, definitions and denies, the verdict is the same."""

    def shuffled[T](read: T) -> T:
        return tuple(sorted(read, key=lambda _: random.random())) if isinstance(read, tuple) else read  # type: ignore[attr-defined,return-value]

    other = case
    for host, store in case.facts.stores.items():
        shown = store.store
        if isinstance(shown, KeyVault):
            shown = replace(shown, access_policies=shuffled(shown.access_policies))
        other = other.with_store(
            host,
            store=shown,
            assignments={key: shuffled(read) for key, read in store.assignments.items()},
            denies=shuffled(store.denies),
            hsm_assignments={key: shuffled(read) for key, read in sorted(store.hsm_assignments.items(), reverse=True)},
            hsm_definitions=shuffled(store.hsm_definitions),
        )
    one, two = decided(case), decided(other)
    assert (one.state, one.codes, set(one.missing)) == (two.state, two.codes, set(two.missing))
    assert {(s.id, s.effect) for s in one.proof} == {(s.id, s.effect) for s in two.proof}


segments = st.lists(st.sampled_from(["a", "A", "ab", "b"]), max_size=4)
ids = segments.map(lambda parts: ResourceId.parse("/" + "/".join(parts)))


@given(ids, ids, ids)
@settings(deadline=None)
def test_containment_is_a_partial_order(one: ResourceId, two: ResourceId, three: ResourceId) -> None:
    """Containment is reflexive, antisymmetric and transitive, and no matter of letter case."""
    assert one.contains(one)
    assert (one.contains(two) and two.contains(one)) == (one == two)
    if one.contains(two) and two.contains(three):
        assert one.contains(three)
    assert one.contains(two) == ResourceId.parse(str(one).upper()).contains(ResourceId.parse(f"{two}/"))
    assert one.contains(two) == (two.key + "/").startswith(one.key.rstrip("/") + "/")
