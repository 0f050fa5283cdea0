"""The cases in which the nearest peer answers wrongly (Cloud Custodian's Azure provider), and keydrift's answers to them."""

from __future__ import annotations

from typing import Any

import pytest

from keydrift.access.key_state import Horizon
from keydrift.access.verdict import decide
from keydrift.adapters import arm_decode
from keydrift.adapters.wire import Node
from keydrift.collect import Known
from keydrift.errors import DecodeError
from keydrift.events import decode
from keydrift.facts import Facts, KeyObject, Principal, StoreFacts, Unread
from keydrift.key_uri import KeyUri
from keydrift.model import AppIdentity, ChangeNotice, KeyBinding, Scenario, State, StoreObject, Verdict
from keydrift.resource_id import ResourceId
from keydrift.watchlist import Watchlist, binding_id
from keydrift_local.local_azure import LocalAzure
from support.azure import reading, serve
from support.events import event_grid
from support.queues_memory import ManualClock
from support.tenants import (
    BACKUP_APP_ID,
    BACKUP_OBJECT_ID,
    CRYPTO_USER,
    SUBSCRIPTION,
    Document,
    access_policy,
    guid,
    key,
    key_vault,
    role_assignment,
    role_definition,
    tenant,
    vault_id,
)

HOST = "kv1.vault.azure.net"
NOW = ManualClock().now()


def binding() -> KeyBinding:
    """The Backup Management Service needs get, list and backup of `k1`."""
    identity, uri = AppIdentity(app_id=BACKUP_APP_ID), KeyUri.parse(f"https://{HOST}/keys/k1")
    return KeyBinding(
        id=binding_id(Scenario.CVM_CMK, identity, uri),
        scenario=Scenario.CVM_CMK,
        identity=identity,
        target=StoreObject(uri=uri, store_id=ResourceId.parse(vault_id(group="prod2"))),
    )


def judged(vault: Document, *assignments: Document) -> Verdict:
    """The verdict on bodies as ARM sends them: `assignments` are what it listed for the principal."""
    each = binding()
    facts = StoreFacts(
        store=arm_decode.key_vault(Node(vault)),
        objects={each.target.uri: KeyObject(uri=each.target.uri)},
        assignments={BACKUP_OBJECT_ID: tuple(arm_decode.role_assignment(Node(body)) for body in assignments)},
        definitions={guid(1): arm_decode.role_definition(Node(_BACKUP_ROLE))},
    )
    principals = {BACKUP_APP_ID: Principal(object_id=BACKUP_OBJECT_ID, app_id=BACKUP_APP_ID)}
    groups = {BACKUP_OBJECT_ID: frozenset[str]()}
    return decide(each, Facts(read_at=NOW, stores={HOST: facts}, principals=principals, groups=groups), Horizon(now=NOW))


_BACKUP_ROLE = role_definition(
    1, "Backup", {"dataActions": ["Microsoft.KeyVault/vaults/keys/read", "Microsoft.KeyVault/vaults/keys/backup/action"]}
)


def with_policies(*policies: Document) -> Document:
    return key_vault(rbac=False, policies=policies, group="prod2")


def shown(verdict: Verdict) -> tuple[State, set[str]]:
    return verdict.state, {finding.code for finding in verdict.findings}


def test_a_policy_that_lacks_backup_is_a_loss() -> None:
    """A missing permission is lost: the peer only checks that there is not too much."""
    verdict = judged(with_policies(access_policy(BACKUP_OBJECT_ID, keys=["get", "list"])))
    assert shown(verdict) == (State.LOST, {"access-policy-insufficient"})
    assert verdict.missing == ("keys/backup",)


def test_no_policy_at_all_is_a_loss() -> None:
    """A principal that no policy names has lost its access: the peer passes it."""
    assert shown(judged(with_policies(access_policy(guid(7))))) == (State.LOST, {"access-policy-absent"})


def test_a_vault_without_policies_gets_a_verdict() -> None:
    """A body without `accessPolicies` decodes and is judged: the peer raises KeyError."""
    vault = with_policies()
    del vault["properties"]["accessPolicies"]
    assert shown(judged(vault)) == (State.LOST, {"access-policy-absent"})


def scoped(scope: str) -> Verdict:
    return judged(key_vault(rbac=True, group="prod2"), role_assignment(1, scope, guid(1), BACKUP_OBJECT_ID))


def test_a_resource_group_whose_name_is_a_prefix_does_not_match() -> None:
    """An assignment on `prod` gives nothing in `prod2`: the peer compares substrings."""
    assert scoped(f"/subscriptions/{SUBSCRIPTION}/resourceGroups/prod").state is State.LOST
    assert scoped(f"/subscriptions/{SUBSCRIPTION}/resourceGroups/prod2").state is State.HELD


def test_letter_case_in_a_scope_does_not_matter() -> None:
    """An assignment whose scope is spelled in another case matches: the peer's does not."""
    assert scoped(f"/SUBSCRIPTIONS/{SUBSCRIPTION.upper()}/resourcegroups/PROD2/").state is State.HELD


def test_a_management_group_scope_matches() -> None:
    """An assignment that Azure listed from a management group above counts: the peer's can never match."""
    assert scoped("/providers/Microsoft.Management/managementGroups/mg1").state is State.HELD


@pytest.mark.parametrize("keys", [["Get", "List", "Backup"], ["all"], ["ALL"], ["gEt", "lIsT", "bAcKuP"]])
def test_permission_words_in_any_spelling(keys: list[str]) -> None:
    """`Get`, `List`, `Backup` and `all` grant: the peer's query says that they do not."""
    assert judged(with_policies(access_policy(BACKUP_OBJECT_ID, keys=keys))).state is State.HELD


def notice(event: Any) -> ChangeNotice:
    (decoded,) = decode(event)
    assert isinstance(decoded, ChangeNotice)
    return decoded


def test_an_access_policy_event_is_handled() -> None:
    """An event whose subject is no ARM id reaches its key store: the peer raises AttributeError."""
    vault = vault_id(group="prod2")
    data = {"Id": f"https://{HOST}/", "VaultName": "kv1", "ObjectType": "", "ObjectName": "", "Version": ""}
    event = event_grid("Microsoft.KeyVault.VaultAccessPolicyChanged", data, topic=vault, subject="kv1")
    assert Watchlist.of([binding()]).affected_by(notice(event)) == (HOST,)


@pytest.mark.parametrize("name", ["access policy", "role assignment"])
async def test_a_403_while_an_event_is_handled_is_not_silence(azure: LocalAzure, name: str) -> None:
    """Where ARM refuses the read, the verdict is unknown and names the read: the peer acknowledges and the event is gone."""
    vault = vault_id(group="prod2")
    rbac = name == "role assignment"
    serve(
        azure,
        tenant(
            key_vault(rbac=rbac, policies=[access_policy(BACKUP_OBJECT_ID)], group="prod2"),
            key(group="prod2"),
            roleAssignments=[role_assignment(1, vault, CRYPTO_USER, BACKUP_OBJECT_ID)],
        ),
    )
    path = "roleAssignments" if rbac else "vaults/kv1"
    azure.fault({"match": f"GET https://management.azure.com/*/{path}", "status": 403})
    async with reading() as composed:
        facts = await composed.collector.collect([binding()], Known())
    verdict = decide(binding(), facts, Horizon(now=NOW))
    assert shown(verdict) == (State.UNKNOWN, {"facts-unreadable"})
    (unread,) = [each for each in verdict.unread if each.status == 403]
    assert isinstance(unread, Unread)
    assert (unread.code, "the role Reader" in unread.repair) == ("AuthorizationFailed", True)


@pytest.mark.parametrize(
    ("kind", "resource"),
    [
        ("roleAssignments", f"{vault_id(group='prod2')}/providers/Microsoft.Authorization/roleAssignments/{guid(1)}"),
        ("keys", f"{vault_id(group='prod2')}/keys/k1"),
    ],
)
def test_events_of_role_assignments_and_keys(kind: str, resource: str) -> None:
    """Changes of role assignments and of keys are followed by events: the peer rejects event mode for both."""
    provider = "Microsoft.Authorization/roleAssignments" if kind == "roleAssignments" else "Microsoft.KeyVault/vaults/keys"
    data = {"resourceUri": resource, "operationName": f"{provider}/write", "status": "Succeeded", "claims": {}}
    event = event_grid("Microsoft.Resources.ResourceWriteSuccess", data, topic=f"/subscriptions/{SUBSCRIPTION}", subject=resource)
    assert Watchlist.of([binding()]).affected_by(notice(event)) == (HOST,)


def test_an_undecodable_body_is_an_error_with_its_place() -> None:
    """A body that is no vault raises with its place, and is never taken for a vault without grants."""
    with pytest.raises(DecodeError) as caught:
        arm_decode.key_vault(Node({"id": vault_id()}))
    assert caught.value.path == "$.properties"
