"""The decision as a whole: the four verdicts, one cause one code, and what an unread source may and may not change."""

from __future__ import annotations

from dataclasses import replace

import pytest

from keydrift.access.verdict import granting as granting_steps
from keydrift.access.verdict import unread_in
from keydrift.facts import Absent, Facts
from keydrift.model import Consumer, KeyBinding, PermissionModel, Scenario, State
from keydrift.requirement import requirement_for
from support.builders import (
    APP_ID,
    APP_OBJECT,
    BACKUP_VAULT,
    GROUP,
    HSM_HOST,
    MHSM,
    NOW,
    OTHER_TENANT,
    POLICY,
    RBAC,
    VAULT_HOST,
    VM,
    assignment,
    binding,
    deny,
    granting,
    judged,
    policy,
    rid,
    secret_at,
    unread,
    vault,
    with_object,
    with_store,
    with_vault,
)

S = Scenario
LOST, HELD, RISK, UNKNOWN = State.LOST, State.HELD, State.AT_RISK, State.UNKNOWN
CVM = binding(S.CVM_CMK)
OTHER_HOST = "kv2.vault.azure.net"
OTHER_VAULT = f"{GROUP}/providers/Microsoft.KeyVault/vaults/kv2"


def held(of: KeyBinding, model: PermissionModel = RBAC) -> Facts:
    requirement = requirement_for(of.scenario, model)
    assert requirement is not None
    return granting(of, model, [p.name for p in requirement.permissions])


def test_states_are_ordered() -> None:
    """Worse is lost, then unknown, then at risk, then held."""
    assert sorted(State, key=lambda s: s.rank) == [HELD, RISK, UNKNOWN, LOST]


def test_the_verdict_is_the_worst_level() -> None:
    """At risk gives way to unknown, unknown to lost; at-risk findings stay beside them."""
    risky = with_vault(held(CVM), purge_protection=False)
    blind = with_store(risky, denies=unread("denies"))
    lost = with_store(blind, assignments={APP_OBJECT: ()})
    assert judged(CVM, risky).state is RISK
    assert (judged(CVM, blind).state, set(judged(CVM, blind).codes)) == (UNKNOWN, {"facts-unreadable", "purge-protection-off"})
    assert (judged(CVM, lost).state, set(judged(CVM, lost).codes)) == (LOST, {"role-assignment-absent", "purge-protection-off"})


def test_the_verdict_carries_what_it_was_made_of() -> None:
    """Time of the read, model, principal and key store stand in the verdict."""
    verdict = judged(CVM, held(CVM))
    assert (verdict.read_at, verdict.permission_model) == (NOW, RBAC)
    assert verdict.principal is not None
    assert verdict.principal.object_id == APP_OBJECT
    assert verdict.key_store == held(CVM).stores[VAULT_HOST].store
    assert [step.id for step in granting_steps(verdict)] == [str(assignment().id)]


@pytest.mark.parametrize(
    ("facts", "codes"),
    [
        (with_vault(granting(CVM, POLICY, ()), tenant_id=OTHER_TENANT), {"tenant-mismatch"}),
        (replace(granting(CVM, RBAC, ()), principals={APP_ID: Absent(what="sp")}), {"principal-not-found"}),
        (with_store(granting(CVM, RBAC, ()), denies=(deny("*"),)), {"deny-assignment"}),
        (
            with_store(
                granting(CVM, RBAC, ()),
                denies=(deny("*"),),
                store=vault(rbac=True, access_policies=(policy(APP_OBJECT, "keys/all"),)),
            ),
            {"permission-model-switched"},
        ),
        (
            with_store(granting(CVM, RBAC, ()), store=vault(rbac=True, access_policies=(policy(APP_OBJECT, "keys/all"),))),
            {"permission-model-switched"},
        ),
        (with_store(granting(CVM, RBAC, ()), store=Absent(what="kv"), deleted=Absent(what="kv")), {"key-store-not-found"}),
    ],
)
def test_one_cause_one_code(facts: Facts, codes: set[str]) -> None:
    """What a more specific finding explains is not reported again."""
    verdict = judged(CVM, facts)
    assert (verdict.state, set(verdict.codes)) == (LOST, codes)


@pytest.mark.parametrize(
    "blind",
    [
        with_store(granting(CVM, RBAC, ()), denies=unread("denies")),
        replace(granting(CVM, RBAC, ()), groups={APP_OBJECT: unread("groups")}),
        replace(granting(CVM, RBAC, ()), principals={APP_ID: unread("directory")}),
        with_object(granting(CVM, RBAC, ()), CVM.target, unread("key")),
    ],
)
def test_a_loss_stands_beside_reads_that_could_not_undo_it(blind: Facts) -> None:
    """A missing grant is lost while every place that a grant could stand was read; what else failed is listed, not found."""
    verdict = judged(CVM, blind)
    assert (verdict.state, set(verdict.codes)) == (LOST, {"role-insufficient"})
    assert verdict.unread == unread_in(blind) != ()


def test_a_grant_that_may_be_there_is_no_loss() -> None:
    """Where a place that a grant could stand was not read, nothing is lost and nothing missing."""
    verdict = judged(CVM, with_store(granting(CVM, RBAC, ()), assignments={APP_OBJECT: unread("assignments")}))
    assert (verdict.state, set(verdict.codes), verdict.missing) == (UNKNOWN, {"facts-unreadable"}, ())
    assert verdict.findings[0].remediation == "give the monitor's identity: Reader at the scope"
    assert "assignments" in verdict.findings[0].summary
    assert "403" in verdict.findings[0].summary


def test_each_unread_source_is_found_once() -> None:
    """Many needs behind one failed read are one finding."""
    verdict = judged(CVM, with_store(held(CVM), denies=unread("denies")))
    assert [f.code for f in verdict.findings] == ["facts-unreadable"]


# --- two key stores --------------------------------------------------------------------------------------------------------

SPLIT = binding(S.ADE_KEK, secrets=(secret_at(OTHER_HOST, store=OTHER_VAULT),))


@pytest.mark.parametrize("model", [RBAC, POLICY])
def test_each_part_of_a_split_binding_must_hold(model: PermissionModel) -> None:
    """ADE's secret and key may stand in two stores: each is judged for its own part, and the verdict is the worse."""
    whole = held(SPLIT, model)
    assert judged(SPLIT, whole).state is HELD
    for host, word in ((VAULT_HOST, "keys"), (OTHER_HOST, "secrets")):
        nothing = granting(SPLIT, model, ())
        verdict = judged(SPLIT, replace(whole, stores={**whole.stores, host: nothing.stores[host]}))
        assert verdict.state is LOST
        assert verdict.missing
        assert all(f"{word}/" in name for name in verdict.missing)


def test_a_lost_store_leaves_the_other_part_to_be_judged() -> None:
    """The secret's store being gone does not hide what the key's store lacks."""
    made = with_store(granting(SPLIT, RBAC, ()), OTHER_HOST, store=Absent(what="kv2"))
    assert judged(SPLIT, made).codes == {"key-store-not-found", "role-insufficient"}
    assert SPLIT.hosts == {VAULT_HOST, OTHER_HOST}


def test_the_models_of_two_stores_may_differ() -> None:
    """Each store decides by its own model."""
    made = replace(
        held(SPLIT), stores={VAULT_HOST: held(SPLIT, POLICY).stores[VAULT_HOST], OTHER_HOST: held(SPLIT).stores[OTHER_HOST]}
    )
    verdict = judged(SPLIT, made)
    assert (verdict.state, verdict.permission_model) == (HELD, POLICY)


# --- what consumers say ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scenario", "state", "codes"),
    [
        (S.BACKUP_VAULT_CMK, "Inconsistent", {"encryption-inconsistent"}),
        (S.BACKUP_VAULT_CMK, "INCONSISTENT", {"encryption-inconsistent"}),
        (S.BACKUP_VAULT_CMK, "Enabled", set[str]()),
        (S.BACKUP_VAULT_CMK, None, set()),
        (S.RSV_CMK, "Inconsistent", set()),
    ],
)
def test_encryption_state(scenario: Scenario, state: str | None, codes: set[str]) -> None:
    """A backup vault that reports Inconsistent is at risk."""
    mine = binding(scenario, consumers=(Consumer(id=rid(BACKUP_VAULT), encryption_state=state),))
    assert judged(mine, held(mine)).codes == codes


def test_rotation_error() -> None:
    """A disk encryption set whose rotation fails is at risk, once however many machines use it."""
    consumers = tuple(Consumer(id=rid(f"{VM}{n}"), rotation_error="KeyVaultAccessForbidden") for n in range(3))
    mine = binding(S.CVM_DES, consumers=consumers)
    verdict = judged(mine, held(mine))
    assert [f.code for f in verdict.findings] == ["key-rotation-stalled"]
    assert "KeyVaultAccessForbidden" in verdict.findings[0].summary
    app = binding(S.CVM_CMK, consumers=consumers)
    assert judged(app, held(app)).state is HELD


def test_the_model_of_an_unread_managed_hsm_is_known_by_its_host() -> None:
    """A Managed HSM's model needs no read, a vault's does."""
    mine = binding(S.CVM_CMK, MHSM)
    assert judged(mine, with_store(held(mine, MHSM), HSM_HOST, store=unread())).permission_model is MHSM
    assert judged(CVM, with_store(held(CVM), store=unread())).permission_model is None
