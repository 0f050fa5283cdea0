"""Identities and principals: which object id uses the key, and every way in which it is gone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from keydrift.facts import Absent, Facts, Principal, Read
from keydrift.model import AppIdentity, IdentityReference, KeyBinding, Scenario, State
from support.builders import (
    APP_ID,
    APP_OBJECT,
    BACKUP_VAULT,
    DISK_SET,
    OTHER_TENANT,
    POLICY,
    RBAC,
    TENANT,
    USER_IDENTITY,
    USER_OBJECT,
    binding,
    granting,
    judged,
    owner_identity,
    rid,
    unread,
    user_identity,
    with_vault,
)

KEYS = ("Microsoft.KeyVault/vaults/keys/read", "Microsoft.KeyVault/vaults/keys/backup/action")
CRYPTO = tuple(f"Microsoft.KeyVault/vaults/keys/{word}" for word in ("read", "wrap/action", "unwrap/action"))
CVM = binding(Scenario.CVM_CMK)
USER_KEY = rid(USER_IDENTITY).key
LOST, HELD, UNKNOWN = State.LOST, State.HELD, State.UNKNOWN


def owned(identity: IdentityReference) -> KeyBinding:
    return binding(Scenario.BACKUP_VAULT_CMK, identity=identity)


def app_facts(read: Read[Principal] | None, **changes: Any) -> Facts:
    return replace(granting(CVM, RBAC, KEYS), principals={} if read is None else {APP_ID: read}, **changes)


BACKUP_APP = Principal(object_id=APP_OBJECT, app_id=APP_ID, name="Backup Management Service")


@pytest.mark.parametrize(
    ("read", "known", "state", "codes"),
    [
        (BACKUP_APP, APP_OBJECT, HELD, set[str]()),
        (BACKUP_APP, None, HELD, set()),
        (replace(BACKUP_APP, enabled=False), APP_OBJECT, LOST, {"principal-disabled"}),
        (Absent(what="sp"), APP_OBJECT, LOST, {"principal-not-found"}),
        (unread("the directory"), APP_OBJECT, UNKNOWN, {"facts-unreadable"}),
        (unread("the directory"), None, UNKNOWN, {"facts-unreadable"}),
        (None, APP_OBJECT, UNKNOWN, {"facts-unreadable"}),
        (None, None, UNKNOWN, {"facts-unreadable"}),
    ],
)
def test_app(read: Read[Principal] | None, known: str | None, state: State, codes: set[str]) -> None:
    """The app's service principal has to be there and enabled; what the directory does not answer is unknown."""
    verdict = judged(CVM, app_facts(read, last_known={APP_ID: known} if known else {}))
    assert (verdict.state, set(verdict.codes)) == (state, codes)


def test_a_lost_grant_stands_while_the_directory_is_unread() -> None:
    """The grants are to the object id that was seen last: that they are gone needs no directory."""
    made = replace(granting(CVM, RBAC, ()), principals={APP_ID: unread("the directory")})
    assert judged(CVM, made).codes == {"role-insufficient"}
    assert judged(CVM, replace(made, last_known={})).codes == {"facts-unreadable"}


def test_a_lost_principal_explains_its_grants_away() -> None:
    """A principal that is gone or disabled is one finding, however its grants stand."""
    for read in (Absent(what="sp"), replace(BACKUP_APP, enabled=False)):
        verdict = judged(CVM, replace(granting(CVM, RBAC, ()), principals={APP_ID: read}))
        assert len(verdict.findings) == 1
        assert (verdict.missing, verdict.proof) == ((), ())


def test_letter_case_of_the_app_id() -> None:
    """An app id names the same principal in any letter case."""
    shouting = binding(Scenario.CVM_CMK, identity=AppIdentity(app_id=APP_ID.upper()))
    assert shouting.id == CVM.id
    assert judged(shouting, granting(CVM, RBAC, KEYS)).state is HELD


@pytest.mark.parametrize(
    ("identity", "read", "codes"),
    [
        (owner_identity(), None, set[str]()),
        (owner_identity(system_object_id=None), None, {"identity-none"}),
        (owner_identity(system_object_id=None, attached={USER_KEY: USER_OBJECT}), None, {"identity-none"}),
        (user_identity(), Principal(object_id=USER_OBJECT), set()),
        (user_identity(user_assigned=rid(USER_IDENTITY.upper())), Principal(object_id=USER_OBJECT), set()),
        (user_identity(attached={USER_KEY: None}), Principal(object_id=USER_OBJECT), set()),
        (user_identity(attached={}), Principal(object_id=USER_OBJECT), {"identity-detached"}),
        (user_identity(attached={f"{USER_KEY}0": USER_OBJECT}), Principal(object_id=USER_OBJECT), {"identity-detached"}),
        (user_identity(attached={}), unread("identity"), {"identity-detached"}),
        (user_identity(), Absent(what="identity"), {"identity-deleted"}),
        (user_identity(attached={}), Absent(what="identity"), {"identity-deleted"}),
        (user_identity(attached={}, system_object_id="x"), Absent(what="identity"), {"identity-deleted"}),
        (user_identity(), unread("identity"), {"facts-unreadable"}),
        (user_identity(), None, {"facts-unreadable"}),
    ],
)
def test_resource_identity(identity: IdentityReference, read: Read[Principal] | None, codes: set[str]) -> None:
    """The identity that the encryption settings name has to exist and be attached; nobody falls back to another one."""
    mine = owned(identity)
    made = replace(granting(mine, RBAC, CRYPTO), principals={} if read is None else {USER_KEY: read})
    assert judged(mine, made).codes == codes


def test_an_unread_identity_with_lost_grants_is_lost() -> None:
    """The object id that the resource shows is enough to see that its grants are gone."""
    mine = owned(user_identity())
    made = replace(granting(mine, RBAC, CRYPTO[:1]), principals={USER_KEY: unread("identity")})
    verdict = judged(mine, made)
    assert (verdict.state, verdict.missing) == (LOST, CRYPTO[1:])


def test_the_detached_identity_is_attached_again_beside_the_others() -> None:
    """The remedy keeps the identities that are attached now."""
    other = f"{USER_KEY}0"
    mine = owned(user_identity(attached={other: "x"}, system_object_id="y"))
    line = judged(mine, granting(mine, RBAC, CRYPTO)).findings[0].remediation
    assert f"--url '{BACKUP_VAULT}?api-version=2024-04-01'" in line
    assert '"type":"SystemAssigned,UserAssigned"' in line
    assert f'"{other}":{{}}' in line
    assert f'"{USER_IDENTITY}":{{}}' in line


def test_a_binding_is_its_resources_whatever_identity_it_uses() -> None:
    """Switching from the system-assigned to a user-assigned identity is the same key binding."""
    assert owned(owner_identity()).id == owned(user_identity()).id
    assert owned(owner_identity()).id != owned(owner_identity(DISK_SET)).id


@pytest.mark.parametrize(
    ("identity", "principal", "directory", "mismatch"),
    [
        (owner_identity(), None, TENANT, False),
        (owner_identity(tenant_id=OTHER_TENANT), None, TENANT, True),
        (owner_identity(tenant_id=TENANT.upper()), None, OTHER_TENANT, False),
        (owner_identity(tenant_id=None), None, OTHER_TENANT, True),
        (owner_identity(tenant_id=None), None, None, False),
        (user_identity(), Principal(object_id=USER_OBJECT, tenant_id=OTHER_TENANT), TENANT, True),
        (user_identity(), Principal(object_id=USER_OBJECT), OTHER_TENANT, False),
        (user_identity(), unread("identity"), OTHER_TENANT, False),
        (user_identity(attached={USER_KEY: None}), unread("identity"), OTHER_TENANT, False),
    ],
)
def test_tenant(identity: IdentityReference, principal: Read[Principal] | None, directory: str | None, mismatch: bool) -> None:
    """The identity's own tenant decides, then its resource's, then the directory's; an unread one accuses nobody."""
    mine = owned(identity)
    made = replace(
        granting(mine, RBAC, CRYPTO),
        principals={} if principal is None else {USER_KEY: principal},
        tenant_id=directory,
    )
    assert ("tenant-mismatch" in judged(mine, made).codes) is mismatch


def test_a_foreign_tenant_explains_grants_away() -> None:
    """A key vault of another tenant is one finding, however the grants stand."""
    lacking = granting(CVM, POLICY, ())
    verdict = judged(CVM, with_vault(lacking, tenant_id=OTHER_TENANT))
    assert (verdict.state, set(verdict.codes), verdict.missing) == (LOST, {"tenant-mismatch"}, ())
    assert judged(CVM, with_vault(lacking, tenant_id="")).codes == {"access-policy-insufficient"}
