"""Azure's public role definitions against the evaluator: which built-in roles suffice, and what others' grants are worth."""

from __future__ import annotations

import pytest

from contract.roles_table import (
    BUILT_IN,
    GRANTS,
    HSM,
    LOCAL,
    PAGE,
    RBAC,
    corpus_list,
    grants,
    judged_with,
    page,
    roles,
    satisfying,
)
from keydrift.model import PermissionModel, Scenario, State
from keydrift.requirement import REQUIREMENTS

ADE_BEK, ADE_KEK, CVM_CMK, CVM_DES = Scenario.ADE_BEK, Scenario.ADE_KEK, Scenario.CVM_CMK, Scenario.CVM_DES
BACKUP_VAULT, RSV = Scenario.BACKUP_VAULT_CMK, Scenario.RSV_CMK

ADMINISTRATOR = "Key Vault Administrator"
CRYPTO_OFFICER, CRYPTO_USER = "Key Vault Crypto Officer", "Key Vault Crypto User"
ENCRYPTION_USER = "Key Vault Crypto Service Encryption User"
SECRETS_OFFICER, SECRETS_USER = "Key Vault Secrets Officer", "Key Vault Secrets User"
HSM_USER, HSM_ENCRYPTION_USER = "Managed HSM Crypto User", "Managed HSM Crypto Service Encryption User"
HSM_AUDITOR, HSM_BACKUP = "Managed HSM Crypto Auditor", "Managed HSM Backup"

_WRAPPING = (ADMINISTRATOR, CRYPTO_OFFICER, ENCRYPTION_USER, CRYPTO_USER)
_HSM_WRAPPING = (HSM_ENCRYPTION_USER, HSM_USER)
SATISFYING: dict[tuple[Scenario, PermissionModel], tuple[str, ...]] = {
    (ADE_BEK, RBAC): (ADMINISTRATOR, SECRETS_OFFICER),
    (ADE_KEK, RBAC): (ADMINISTRATOR,),
    (CVM_CMK, RBAC): (ADMINISTRATOR, CRYPTO_OFFICER, CRYPTO_USER),
    (CVM_DES, RBAC): _WRAPPING,
    (BACKUP_VAULT, RBAC): _WRAPPING,
    (RSV, RBAC): _WRAPPING,
    (CVM_CMK, HSM): (HSM_USER,),
    (CVM_DES, HSM): _HSM_WRAPPING,
    (BACKUP_VAULT, HSM): _HSM_WRAPPING,
}

_ALL = {ADE_BEK: "satisfies", ADE_KEK: "satisfies", CVM_CMK: "satisfies"}
_NO_KEY = "lacks keys/read, keys/backup/action"
_NO_KEY_WORDS = "lacks keys/get, keys/list, keys/backup"
# In the corpus' order: what each published grant does for each scenario of its principal; empty where it cannot be judged
WILD: tuple[dict[Scenario, str], ...] = (
    {ADE_BEK: "lacks secrets/backup", ADE_KEK: "satisfies, lacks advisory secrets/backup", CVM_CMK: "satisfies"},
    {ADE_BEK: "satisfies", ADE_KEK: _NO_KEY_WORDS, CVM_CMK: _NO_KEY_WORDS},
    _ALL,
    _ALL,
    _ALL,
    _ALL,
    {},
    _ALL,
    {ADE_BEK: "satisfies", ADE_KEK: _NO_KEY, CVM_CMK: _NO_KEY},
    {
        ADE_BEK: "lacks secrets/getSecret/action, secrets/readMetadata/action",
        ADE_KEK: "lacks keys/backup/action, secrets/getSecret/action, secrets/readMetadata/action",
        CVM_CMK: "lacks keys/backup/action",
    },
    {},
    {RSV: "satisfies"},
    {RSV: "satisfies"},
    {BACKUP_VAULT: "satisfies"},
    {RSV: "satisfies"},
    {RSV: "satisfies"},
    {BACKUP_VAULT: "satisfies, lacks advisory keys/list"},
    {},
    {RSV: "satisfies"},
    {CVM_DES: "satisfies"},
    {CVM_DES: "satisfies"},
)


@pytest.mark.parametrize(("name", "count"), [(BUILT_IN, 928), (LOCAL, 9)])
def test_every_role_is_loaded(name: str, count: int) -> None:
    """Every public role is decoded with all its data actions, those taken out again and its conditions."""
    listed, loaded = corpus_list(name), roles(name)
    assert (len(listed), len(loaded)) == (count, count)
    for each in listed:
        role = loaded[each["name"]]
        assert (role.id, role.name) == (each["id"].lower(), each["name"])
        assert [(list(b.data_actions), list(b.not_data_actions), b.condition) for b in role.permissions] == [
            (b["dataActions"], b["notDataActions"], b.get("condition")) for b in each["permissions"]
        ]


@pytest.mark.parametrize(("scenario", "model"), [pair for pair in REQUIREMENTS if pair[1] in (RBAC, HSM)])
def test_the_roles_that_suffice(scenario: Scenario, model: PermissionModel) -> None:
    """Of all built-in roles exactly these give a scenario everything alone."""
    assert satisfying(scenario, model) == SATISFYING[scenario, model]


@pytest.mark.parametrize(
    ("scenario", "model", "held", "missing"),
    [
        (CVM_CMK, RBAC, (CRYPTO_USER,), ()),
        (CVM_CMK, RBAC, (ENCRYPTION_USER,), ("keys/backup/action",)),
        (CVM_DES, RBAC, (ENCRYPTION_USER,), ()),
        (BACKUP_VAULT, RBAC, (ENCRYPTION_USER,), ()),
        (RSV, RBAC, (ENCRYPTION_USER,), ()),
        (ADE_BEK, RBAC, (SECRETS_USER,), ("secrets/backup/action",)),
        (ADE_KEK, RBAC, (CRYPTO_USER, SECRETS_USER), ("secrets/backup/action",)),
        (ADE_KEK, RBAC, (CRYPTO_OFFICER, SECRETS_OFFICER), ()),
        *((scenario, RBAC, (ADMINISTRATOR,), ()) for scenario in Scenario),
        (CVM_CMK, HSM, (HSM_USER,), ()),
        (CVM_CMK, HSM, (HSM_BACKUP,), ("keys/read/action",)),
        (CVM_CMK, HSM, (HSM_AUDITOR, HSM_BACKUP), ()),
        (CVM_DES, HSM, (HSM_ENCRYPTION_USER,), ()),
        (CVM_DES, HSM, (HSM_USER,), ()),
    ],
)
def test_what_the_documents_say(
    scenario: Scenario, model: PermissionModel, held: tuple[str, ...], missing: tuple[str, ...]
) -> None:
    """The roles that Azure's documents name, alone or together, give what the documents say they give (azure-facts 1.1)."""
    known = roles(LOCAL if model is HSM else BUILT_IN)
    verdict = judged_with(scenario, model, *(known[name] for name in held))
    provider = "Microsoft.KeyVault/managedHsm/" if model is HSM else "Microsoft.KeyVault/vaults/"
    assert tuple(name.removeprefix(provider) for name in verdict.missing) == missing
    assert verdict.state is (State.LOST if missing else State.HELD)


def test_grants_in_the_wild() -> None:
    """Each grant that others have published satisfies its scenarios or lacks what the table says, or is no grant."""
    found = list(grants())
    assert len(found) == len(corpus_list(GRANTS)) == len(WILD)
    assert [each.outcome for each in found] == list(WILD)
    assert [bool(each.reason) for each in found] == [not each for each in WILD]


def test_a_grant_on_one_key_gives_no_secret() -> None:
    """A role on one key gives nothing for a secret, so the place of a published grant counts."""
    administrator = roles(BUILT_IN)[ADMINISTRATOR]
    assert judged_with(CVM_CMK, RBAC, administrator, at_key=True).state is State.HELD
    assert judged_with(ADE_BEK, RBAC, administrator, at_key=True).state is State.LOST


def test_the_page_is_current() -> None:
    """The page of roles is what its generator makes of the corpus."""
    assert PAGE.read_text(encoding="utf-8") == page()
