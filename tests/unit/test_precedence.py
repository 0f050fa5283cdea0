from datetime import timedelta

from keydrift.model import Scenario, State
from support.builders import (
    APP_OBJECT,
    MHSM,
    NOW,
    OTHER_TENANT,
    POLICY,
    RBAC,
    RECOVERY_VAULT,
    binding,
    block,
    deny,
    granting,
    judged,
    key_object,
    owner_identity,
    policy,
    with_object,
    with_store,
    with_vault,
)

KEYS = "Microsoft.KeyVault/vaults/keys"


def test_unsupported_hsm_without_an_identity() -> None:
    """A Managed HSM stays unsupported for a Recovery Services vault whatever becomes of its identity."""
    of = binding(Scenario.RSV_CMK, MHSM, identity=owner_identity(RECOVERY_VAULT, system_object_id=None))
    assert judged(of, granting(of, MHSM, ())).codes == {"identity-none", "hsm-unsupported"}


def test_disabled_and_expired_are_two_causes() -> None:
    """Enabling an expired key does not repair it, so both are found."""
    of = binding(Scenario.BACKUP_VAULT_CMK)
    facts = granting(of, RBAC, ["*"])
    key = key_object(of.target, enabled=False, expires=NOW - timedelta(days=1))
    assert judged(of, with_object(facts, of.target, key)).codes == {"key-disabled", "key-expired"}


def test_switched_model_comes_before_a_deny() -> None:
    """On a vault that was switched to RBAC a deny is not the cause: it means nothing once the policies count again."""
    of = binding(Scenario.CVM_CMK)
    facts = with_vault(granting(of, RBAC, ()), access_policies=(policy(APP_OBJECT, "keys/get", "keys/list", "keys/backup"),))
    denied = judged(of, with_store(facts, denies=(deny("*"),)))
    assert denied.codes == {"permission-model-switched"}
    assert set(denied.missing) == {f"{KEYS}/read", f"{KEYS}/backup/action"}


def test_a_condition_in_another_block_of_a_deny() -> None:
    """A block without a condition denies, whatever stands in the deny's other blocks."""
    of = binding(Scenario.CVM_CMK)
    facts = granting(of, RBAC, ["*"])
    blocks = (block(f"{KEYS}/*"), block("Microsoft.KeyVault/vaults/secrets/*", condition="@Resource[x] StringEquals 'y'"))
    verdict = judged(of, with_store(facts, denies=(deny(permissions=blocks),)))
    assert (verdict.state, verdict.codes) == (State.LOST, frozenset({"deny-assignment"}))


def test_compound_policy_of_another_tenant() -> None:
    """An entry of another tenant names nobody here, compound or not."""
    of = binding(Scenario.CVM_CMK)
    entry = policy(APP_OBJECT, "keys/get", application="x", tenant=OTHER_TENANT)
    facts = with_vault(granting(of, POLICY, ()), access_policies=(entry,))
    assert judged(of, facts).codes == {"access-policy-absent"}
