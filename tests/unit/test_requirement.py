"""The requirements, held against the catalogue's table, and what each missing permission makes of the verdict."""

from __future__ import annotations

import pytest

from keydrift.access.permission import needs_at
from keydrift.model import PermissionModel, Scenario, State
from keydrift.requirement import REQUIREMENTS, requirement_for
from keydrift.resource_id import ResourceId
from support.builders import MHSM, POLICY, RBAC, binding, granting, judged

S = Scenario


def vault(*actions: str) -> tuple[str, ...]:
    return tuple(f"Microsoft.KeyVault/vaults/{action}" for action in actions)


def hsm(*actions: str) -> tuple[str, ...]:
    return tuple(f"Microsoft.KeyVault/managedHsm/keys/{action}/action" for action in actions)


SECRETS = ("secrets/getSecret/action", "secrets/readMetadata/action", "secrets/backup/action")
WRAPPING = ("keys/read", "keys/wrap/action", "keys/unwrap/action")

# Copied from the catalogue: scenario, model, required, advisory
TABLE: list[tuple[Scenario, PermissionModel, tuple[str, ...], tuple[str, ...]]] = [
    (S.ADE_BEK, POLICY, ("secrets/get", "secrets/list", "secrets/backup"), ()),
    (S.ADE_BEK, RBAC, vault(*SECRETS), ()),
    (
        S.ADE_KEK,
        POLICY,
        ("keys/get", "keys/list", "keys/backup", "secrets/get", "secrets/list"),
        ("secrets/backup",),
    ),
    (S.ADE_KEK, RBAC, vault("keys/read", "keys/backup/action", *SECRETS), ()),
    (S.CVM_CMK, POLICY, ("keys/get", "keys/list", "keys/backup"), ()),
    (S.CVM_CMK, RBAC, vault("keys/read", "keys/backup/action"), ()),
    (S.CVM_CMK, MHSM, hsm("read", "backup"), ()),
    (S.CVM_DES, POLICY, ("keys/get", "keys/wrapKey", "keys/unwrapKey"), ()),
    (S.CVM_DES, RBAC, vault(*WRAPPING), ()),
    (S.CVM_DES, MHSM, hsm("read", "wrap", "unwrap"), ()),
    (S.BACKUP_VAULT_CMK, POLICY, ("keys/get", "keys/wrapKey", "keys/unwrapKey"), ("keys/list",)),
    (S.BACKUP_VAULT_CMK, RBAC, vault(*WRAPPING), ()),
    (S.BACKUP_VAULT_CMK, MHSM, hsm("read", "wrap", "unwrap"), ()),
    (S.RSV_CMK, POLICY, ("keys/get", "keys/wrapKey", "keys/unwrapKey"), ("keys/list",)),
    (S.RSV_CMK, RBAC, vault(*WRAPPING), ()),
]
LOSSES = {POLICY: "access-policy-insufficient", RBAC: "role-insufficient", MHSM: "hsm-role-insufficient"}


@pytest.mark.parametrize(("scenario", "model", "required", "advisory"), TABLE)
def test_requirement_is_the_catalogues(
    scenario: Scenario, model: PermissionModel, required: tuple[str, ...], advisory: tuple[str, ...]
) -> None:
    """Each scenario asks for exactly the permissions of the catalogue, advisory ones marked, each with its source."""
    requirement = requirement_for(scenario, model)
    assert requirement is not None
    assert {p.name for p in requirement.permissions if not p.advisory} == set(required)
    assert {p.name for p in requirement.permissions if p.advisory} == set(advisory)
    assert len(requirement.permissions) == len(required) + len(advisory)
    assert all(p.source for p in requirement.permissions)
    assert all(f"/{p.on}/" in f"/{p.name}" for p in requirement.permissions)
    assert bool(requirement.role) == (model is not POLICY)


def test_no_other_combination_is_supported() -> None:
    """What the catalogue does not list has no requirement."""
    assert set(REQUIREMENTS) == {(scenario, model) for scenario, model, _, _ in TABLE}
    assert requirement_for(S.RSV_CMK, MHSM) is None
    assert requirement_for(S.ADE_BEK, MHSM) is None
    assert requirement_for(S.ADE_KEK, MHSM) is None


@pytest.mark.parametrize(("scenario", "model", "required", "advisory"), TABLE)
def test_exactly_the_requirement_is_held(
    scenario: Scenario, model: PermissionModel, required: tuple[str, ...], advisory: tuple[str, ...]
) -> None:
    """A principal with exactly the required and advisory permissions holds, with nothing found and nothing missing."""
    mine = binding(scenario, model)
    verdict = judged(mine, granting(mine, model, (*required, *advisory)))
    assert (verdict.state, verdict.findings, verdict.missing) == (State.HELD, (), ())
    assert verdict.permission_model is model
    assert [step.effect for step in verdict.proof] != []


@pytest.mark.parametrize(
    ("scenario", "model", "required", "advisory", "gone"),
    [(*row, gone) for row in TABLE for gone in row[2]],
)
def test_each_required_permission_counts(
    scenario: Scenario, model: PermissionModel, required: tuple[str, ...], advisory: tuple[str, ...], gone: str
) -> None:
    """Without one required permission the key is lost, and exactly that one is missing."""
    mine = binding(scenario, model)
    verdict = judged(mine, granting(mine, model, {*required, *advisory} - {gone}))
    assert verdict.state is State.LOST
    assert verdict.missing == (gone,)
    assert verdict.codes == {LOSSES[model]}
    assert verdict.findings[0].evidence["missing"] == (gone,)
    assert gone in verdict.findings[0].summary


@pytest.mark.parametrize(
    ("scenario", "model", "required", "gone"), [(row[0], row[1], row[2], gone) for row in TABLE for gone in row[3]]
)
def test_an_advisory_permission_endangers_only(
    scenario: Scenario, model: PermissionModel, required: tuple[str, ...], gone: str
) -> None:
    """Without an advisory permission alone the key is at risk, and that one is missing."""
    mine = binding(scenario, model)
    verdict = judged(mine, granting(mine, model, required))
    assert (verdict.state, verdict.missing) == (State.AT_RISK, (gone,))
    assert verdict.codes == {"advisory-permission-missing"}


def test_a_loss_names_the_advisory_permission_as_missing_too() -> None:
    """Where a required permission is lost, a missing advisory one is listed but is no finding of its own."""
    mine = binding(S.RSV_CMK, POLICY)
    verdict = judged(mine, granting(mine, POLICY, ("keys/get", "keys/wrapKey")))
    assert verdict.codes == {"access-policy-insufficient"}
    assert verdict.missing == ("keys/unwrapKey", "keys/list")
    assert verdict.findings[0].evidence["missing"] == ("keys/unwrapKey",)


def test_needs_stand_in_the_store_that_was_read() -> None:
    """Key permissions are needed on the key, secret permissions on each secret, in the store that was read."""
    elsewhere = ResourceId.parse("/subscriptions/x/resourceGroups/r/providers/Microsoft.KeyVault/vaults/kv1")
    needs = needs_at(binding(S.ADE_KEK), "kv1.vault.azure.net", RBAC, elsewhere)
    assert [(n.name.rpartition("vaults/")[2], n.target.uri.kind) for n in needs] == [
        ("keys/read", "keys"),
        ("keys/backup/action", "keys"),
        *((name, "secrets") for name in SECRETS),
    ]
    assert {n.target.store_id for n in needs} == {elsewhere}
