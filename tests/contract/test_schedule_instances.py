"""Until when role assignments stand, and how many versions keys have: from Azure's JSON to the verdict."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from keydrift.access.key_state import Horizon
from keydrift.access.verdict import decide
from keydrift.adapters.arm_decode import schedule_instance
from keydrift.adapters.wire import Node
from keydrift.collect import Known
from keydrift.errors import DecodeError
from keydrift.facts import Facts, KeyObject, ScheduleInstance, Unread
from keydrift.inventory import discover
from keydrift.key_uri import KeyUri
from keydrift.model import AppIdentity, KeyBinding, PermissionModel, Scenario, State, StoreObject
from keydrift.resource_id import ResourceId
from keydrift.scan import scan
from keydrift.watchlist import binding_id
from keydrift_local.local_azure import LocalAzure
from support.azure import asked, readers, reading, serve
from support.queues_memory import ManualClock
from support.tenants import (
    BACKUP_APP_ID,
    BACKUP_OBJECT_ID,
    CRYPTO_USER,
    HEALTHY,
    IDENTITY_OBJECT_ID,
    SUBSCRIPTION,
    VERSION,
    Document,
    access_policy,
    guid,
    healthy,
    key,
    key_vault,
    managed_hsm,
    role_assignment,
    tenant,
    vault_id,
)

VAULT = ResourceId.parse(vault_id())
HOST, HSM_HOST = "kv1.vault.azure.net", "hsm1.managedhsm.azure.net"
K1 = KeyUri.parse(f"https://{HOST}/keys/k1")
KNOWN = Known(object_ids={BACKUP_APP_ID: BACKUP_OBJECT_ID})
COUNTING = replace(KNOWN, count_versions=frozenset({HOST}))
INSTANCES = "GET https://management.azure.com*/roleAssignmentScheduleInstances"
VERSIONS = "GET https://management.azure.com*/keys/k1/versions"


def instance(number: int, scope: str, role: str, principal: str, end: str | None) -> Document:
    """A schedule instance as the public sample shows it, of the role assignment with the same number."""
    assignment = role_assignment(number, scope, role, principal)
    return {
        "id": f"{scope}/providers/Microsoft.Authorization/roleAssignmentScheduleInstances/{guid(number)}",
        "properties": {
            **assignment["properties"],
            "originRoleAssignmentId": assignment["id"],
            "assignmentType": "Assigned",
            "status": "Provisioned",
            "memberType": "Direct",
            "startDateTime": "2025-12-01T00:00:00.27Z",
            "endDateTime": end,
        },
    }


def backup_key() -> KeyBinding:
    """A `cvm-cmk` binding of the Backup Management Service."""
    identity = AppIdentity(app_id=BACKUP_APP_ID)
    target = StoreObject(uri=K1, store_id=VAULT)
    return KeyBinding(id=binding_id(Scenario.CVM_CMK, identity, K1), scenario=Scenario.CVM_CMK, identity=identity, target=target)


async def collect(binding: KeyBinding, known: Known = KNOWN) -> Facts:
    async with reading() as composed:
        return await composed.collector.collect([binding], known)


def at_now() -> Horizon:
    return Horizon(now=ManualClock().now())


def ending(end: datetime | None, *assignments: Document) -> Document:
    """A tenant whose only grant to the Backup Management Service ends then."""
    instances = [instance(1, vault_id(), CRYPTO_USER, BACKUP_OBJECT_ID, end.isoformat() if end else None)]
    grants = [role_assignment(1, vault_id(), CRYPTO_USER, BACKUP_OBJECT_ID), *assignments]
    return tenant(key_vault(rbac=True), key(), roleAssignments=grants, roleAssignmentScheduleInstances=instances)


# --- decoding ------------------------------------------------------------------------------------------------------------


def test_an_instance_is_decoded() -> None:
    """Scope, role, principal, end and origin arrive normalised; the end keeps its fraction of a second."""
    body = instance(1, vault_id(), CRYPTO_USER.upper(), BACKUP_OBJECT_ID.upper(), "2026-01-10T05:35:17.91Z")
    assert schedule_instance(Node(body)) == ScheduleInstance(
        scope=VAULT,
        role_definition_id=CRYPTO_USER,
        principal_id=BACKUP_OBJECT_ID,
        ends_at=datetime(2026, 1, 10, 5, 35, 17, 910000, tzinfo=UTC),
        origin=ResourceId.parse(f"{vault_id()}/providers/Microsoft.Authorization/roleAssignments/{guid(1)}"),
    )


@pytest.mark.parametrize("without", ["endDateTime", "originRoleAssignmentId"])
def test_what_may_be_left_out(without: str) -> None:
    """An instance without an end is for good, one without an origin is an assignment's by its scope, role and principal."""
    body = instance(1, vault_id(), CRYPTO_USER, BACKUP_OBJECT_ID, "2026-01-10T05:35:17Z")
    del body["properties"][without]
    made = schedule_instance(Node(body))
    assert (made.ends_at is None, made.origin is None) == (without == "endDateTime", without != "endDateTime")


@pytest.mark.parametrize("without", ["scope", "roleDefinitionId", "principalId"])
def test_what_may_not_be_left_out(without: str) -> None:
    """An instance that does not say of what it is tells nothing, and is an error with its place."""
    body = instance(1, vault_id(), CRYPTO_USER, BACKUP_OBJECT_ID, None)
    del body["properties"][without]
    with pytest.raises(DecodeError) as raised:
        schedule_instance(Node(body))
    assert raised.value.path == f"$.properties.{without}"


# --- grants that end -----------------------------------------------------------------------------------------------------


async def test_instances_are_listed_for_the_principal_at_the_store(azure: LocalAzure) -> None:
    """One list with `assignedTo`, of version 2020-10-01, holds the principal's instances at, above and below the store."""
    scopes = [f"/subscriptions/{SUBSCRIPTION}", vault_id(), f"{vault_id()}/keys/k1", vault_id("kv10")]
    instances = [instance(n, scope, CRYPTO_USER, BACKUP_OBJECT_ID, None) for n, scope in enumerate(scopes)]
    instances.append(instance(9, vault_id(), CRYPTO_USER, IDENTITY_OBJECT_ID, None))
    serve(azure, tenant(key_vault(rbac=True), key_vault("kv10", rbac=True), key(), roleAssignmentScheduleInstances=instances))
    async with readers() as found:
        listed = await found.grants.schedule_instances(VAULT, BACKUP_OBJECT_ID)
    assert isinstance(listed, tuple)
    assert {each.scope.key for each in listed} == {scope.lower() for scope in scopes[:3]}
    assert {each.principal_id for each in listed} == {BACKUP_OBJECT_ID}
    (request,) = asked(azure)
    assert (request.query["api-version"], request.query["$filter"]) == ("2020-10-01", f"assignedTo('{BACKUP_OBJECT_ID}')")


@pytest.mark.parametrize(("days", "state"), [(1, State.AT_RISK), (13, State.AT_RISK), (15, State.HELD), (None, State.HELD)])
async def test_a_grant_that_ends_soon(azure: LocalAzure, days: int | None, state: State) -> None:
    """A vault whose only grant ends within the horizon is at risk, and says so with the end."""
    end = ManualClock().now() + timedelta(days=days) if days else None
    serve(azure, ending(end))
    verdict = decide(backup_key(), await collect(backup_key()), at_now())
    assert (verdict.state, set(verdict.codes)) == (state, {"grant-expiring"} if state is State.AT_RISK else set())
    assert [found.evidence["endsAt"] for found in verdict.findings] == ([end.isoformat()] if end and days != 15 else [])


async def test_another_grant_that_stays(azure: LocalAzure) -> None:
    """A second assignment, higher up and for good, keeps the key."""
    higher = role_assignment(2, f"/subscriptions/{SUBSCRIPTION}", CRYPTO_USER, BACKUP_OBJECT_ID)
    serve(azure, ending(ManualClock().now() + timedelta(days=1), higher))
    assert decide(backup_key(), await collect(backup_key()), at_now()).state is State.HELD


@pytest.mark.parametrize(
    ("fault", "repair"),
    [
        ({"status": 403}, "roleAssignmentScheduleInstances/read"),
        ({"status": 404}, "key store itself is gone"),
        ({"status": 0}, "network"),
    ],
)
async def test_a_list_that_is_not_to_be_had(azure: LocalAzure, fault: Document, repair: str) -> None:
    """A monitor without the right has the same verdict, and an unread source that says why."""
    serve(azure, ending(ManualClock().now() + timedelta(days=1)))
    azure.fault({"match": INSTANCES, **fault})
    verdict = decide(backup_key(), await collect(backup_key()), at_now())
    assert (verdict.state, set(verdict.codes)) == (State.HELD, set())
    (unread,) = verdict.unread
    assert unread.source.startswith(f"role assignment schedule instances of {BACKUP_OBJECT_ID}")
    assert repair in unread.repair


async def test_a_tenant_without_the_licence(azure: LocalAzure) -> None:
    """Without the licence for time-bound assignments there are none, and nothing is unread."""
    serve(azure, ending(ManualClock().now() + timedelta(days=1)))
    azure.fault({"match": INSTANCES, "status": 400, "body": {"error": {"code": "AadPremiumLicenseRequired", "message": "-"}}})
    verdict = decide(backup_key(), await collect(backup_key()), at_now())
    assert (verdict.state, verdict.codes, verdict.unread) == (State.HELD, frozenset(), ())


@pytest.mark.parametrize(("scenario", "model"), HEALTHY)
async def test_what_the_instances_cost(azure: LocalAzure, scenario: Scenario, model: PermissionModel) -> None:
    """A key vault's instances are one read a principal, a Managed HSM's none; versions are counted for nobody who did not ask."""
    serve(azure, healthy(scenario, model))
    async with reading() as composed:
        found = discover(await composed.consumers.read([SUBSCRIPTION]), BACKUP_APP_ID)
        (binding,) = [each for each in found if each.scenario is scenario]
        azure.clear_requests()
        await composed.collector.collect([binding], KNOWN)
    paths = [each.path.lower() for each in asked(azure)]
    instances = sum(path.endswith("/roleassignmentscheduleinstances") for path in paths)
    assert instances == (0 if model is PermissionModel.MANAGED_HSM else 1)
    assert not [path for path in paths if path.endswith("/versions")]


async def test_a_changed_object_id_gets_its_own_instances(azure: LocalAzure) -> None:
    """An application whose object id is no longer the known one is judged by the instances of the new one."""
    serve(azure, ending(ManualClock().now() + timedelta(days=1)))
    facts = await collect(backup_key(), Known(object_ids={BACKUP_APP_ID: guid(60)}))
    assert decide(backup_key(), facts, at_now()).codes == {"grant-expiring"}


# --- versions ------------------------------------------------------------------------------------------------------------


def versioned(count: int) -> Document:
    """A tenant whose key has so many versions, the current one included."""
    older = [{"id": f"{vault_id()}/keys/k1/versions/{number:032x}", "properties": {}} for number in range(1, count)]
    return tenant(key_vault(rbac=False, policies=[access_policy(BACKUP_OBJECT_ID)]), key(), *older)


async def test_versions_are_counted_page_by_page(azure: LocalAzure) -> None:
    """Every page of the list counts, and only where it was asked for."""
    serve(azure, versioned(8))
    facts = await collect(backup_key(), COUNTING)
    read = facts.stores[HOST].objects[K1]
    assert isinstance(read, KeyObject)
    assert (read.versions, read.uri.version) == (8, VERSION)
    pages = [each for each in asked(azure) if each.path.endswith("/versions")]
    assert [each.query["api-version"] for each in pages] == ["2026-02-01"] * 3
    elsewhere = await collect(backup_key(), replace(KNOWN, count_versions=frozenset({"kv2.vault.azure.net"})))
    uncounted = elsewhere.stores[HOST].objects[K1]
    assert isinstance(uncounted, KeyObject)
    assert uncounted.versions is None


@pytest.mark.parametrize(("count", "codes"), [(500, set[str]()), (501, {"key-versions-excessive"})])
async def test_a_scan_counts_versions(azure: LocalAzure, count: int, codes: set[str]) -> None:
    """A scan remembers nothing, so it counts: over 500 versions are at risk."""
    document = healthy(Scenario.CVM_CMK, PermissionModel.ACCESS_POLICY)
    document["resources"] += versioned(count)["resources"][2:]
    serve(azure, document)
    clock = ManualClock()
    async with reading(clock) as composed:
        result = await scan(
            consumers=composed.consumers,
            bulk=composed.bulk,
            clock=clock,
            policy=replace(composed.policy, declared={}),
            subscriptions=[SUBSCRIPTION],
        )
    assert {v.binding.scenario: set(v.codes) for v in result.verdicts} == {Scenario.CVM_CMK: codes, Scenario.CVM_DES: set()}
    assert result.unread == ()


async def test_the_last_count_stands_in(azure: LocalAzure) -> None:
    """What was counted before is taken where nobody counts, or where counting fails; a new count replaces it."""
    serve(azure, versioned(2))
    last = {K1: 501}
    for known, expected in [(replace(KNOWN, version_counts=last), 501), (replace(COUNTING, version_counts=last), 2)]:
        read = (await collect(backup_key(), known)).stores[HOST].objects[K1]
        assert isinstance(read, KeyObject)
        assert read.versions == expected
    azure.fault({"match": VERSIONS, "status": 403})
    facts = await collect(backup_key(), replace(COUNTING, version_counts=last))
    verdict = decide(backup_key(), facts, at_now())
    assert verdict.codes == {"key-versions-excessive"}
    assert [each.source for each in verdict.unread] == [f"versions of {K1}"]


async def test_a_count_that_fails_accuses_nobody(azure: LocalAzure) -> None:
    """Versions that could not be listed are unread by name, and the verdict stays as it is."""
    serve(azure, versioned(2))
    azure.fault({"match": VERSIONS, "status": 403})
    verdict = decide(backup_key(), await collect(backup_key(), COUNTING), at_now())
    assert (verdict.state, [each.source for each in verdict.unread]) == (State.HELD, [f"versions of {K1}"])


async def test_a_managed_hsm_s_versions_are_counted_on_its_data_plane(azure: LocalAzure) -> None:
    """Pages count there too; a key without versions is not there; a foreign host is asked for nothing."""
    serve(azure, tenant(managed_hsm()))
    uri = KeyUri.parse(f"https://{HSM_HOST}/keys/k1")
    page2 = f"https://{HSM_HOST}/page2?api-version=7.5"
    kids = [{"kid": f"{uri}/{number:032x}", "attributes": {"enabled": True}} for number in range(3)]
    azure.fault({"match": f"GET https://{HSM_HOST}/keys/k1/versions", "status": 200, "body": {"value": kids, "nextLink": page2}})
    azure.fault({"match": f"GET https://{HSM_HOST}/page2", "status": 200, "body": {"value": kids[:1], "nextLink": None}})
    azure.fault({"match": f"GET https://{HSM_HOST}/keys/k2/versions", "status": 200, "body": {"value": []}})
    async with readers() as found:
        assert await found.managed_hsms.key_versions(uri) == 4
        gone = await found.managed_hsms.key_versions(KeyUri.parse(f"https://{HSM_HOST}/keys/k2"))
        foreign = await found.managed_hsms.key_versions(KeyUri.parse("https://hsm1.example.com/keys/k1"))
    assert not isinstance(gone, int | Unread)
    assert isinstance(foreign, Unread)
    assert foreign.code == "ForeignHost"


async def test_a_key_of_no_known_store_is_not_counted(azure: LocalAzure) -> None:
    """Without its key store's id there is nothing to ask."""
    async with readers() as found:
        read = await found.key_stores.key_versions(StoreObject(uri=K1))
    assert isinstance(read, Unread)
    assert (read.code, azure.requests) == ("KeyStoreNotSeen", [])
