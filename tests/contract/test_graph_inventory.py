"""The inventory by Resource Graph: the same key bindings as by ARM's lists, for requests that do not grow in number with them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from azure.identity.aio import ManagedIdentityCredential

from keydrift.adapters import graph_inventory
from keydrift.adapters.arm_inventory import ArmInventory
from keydrift.adapters.graph_inventory import GraphInventory
from keydrift.adapters.http import ClockTransport, JsonReader
from keydrift.adapters.resource_graph import ResourceGraph, Scope
from keydrift.adapters.wire import Node
from keydrift.facts import Absent, Unread
from keydrift.inventory import Inventory, discover
from keydrift.model import KeyBinding, PermissionModel, Scenario
from keydrift.ports import Consumers
from keydrift_local.local_azure import LocalAzure
from support.azure import asked, serve
from support.corpus import corpus
from support.queues_memory import ManualClock
from support.tenants import (
    BACKUP_APP_ID,
    HEALTHY,
    OTHER_SUBSCRIPTION,
    SUBSCRIPTION,
    VERSION,
    Document,
    arm_id,
    backup_vault,
    disk,
    disk_encryption_set,
    disk_id,
    encryption_settings,
    guid,
    healthy,
    key_vault,
    legacy_encryption,
    machine,
    machine_id,
    managed_hsm,
    protected_item,
    recovery_vault,
    set_id,
    tenant,
    user_identity,
)

ARM = "https://management.azure.com"
POST = f"POST {ARM}/providers/Microsoft.ResourceGraph/resources"
K1, S1 = "https://kv1.vault.azure.net/keys/k1", f"https://kv1.vault.azure.net/secrets/s1/{VERSION}"
BOTH = (SUBSCRIPTION, OTHER_SUBSCRIPTION)
QUERIES = 6
# The order in which the queries are asked, so that a fault can be aimed at one of them
STORES, VAULTS, MACHINES, DISKS, SETS, ITEMS = range(QUERIES)
# Asked last, and only where a Backup vault encrypts with a customer's key
INSTANCES = QUERIES


@asynccontextmanager
async def arm_reader(clock: ManualClock | None = None) -> AsyncIterator[JsonReader]:
    """An ARM reader as bootstrap makes it."""
    transport = ClockTransport(clock or ManualClock())
    async with ManagedIdentityCredential() as identity:
        yield JsonReader(ARM, ARM, identity, transport, "Reader at the scope")
    await transport.shut()


@asynccontextmanager
async def inventories(
    *, page_size: int = 1000, clock: ManualClock | None = None
) -> AsyncIterator[tuple[GraphInventory, ArmInventory]]:
    """Both inventories of one tenant."""
    clock = clock or ManualClock()
    async with arm_reader(clock) as arm:
        yield GraphInventory(arm, ResourceGraph(arm, clock, page_size=page_size)), ArmInventory(arm)


async def by_graph(
    azure: LocalAzure, subscriptions: Sequence[str] = (SUBSCRIPTION,), *, page_size: int = 1000, legacy: bool = True
) -> Inventory:
    """The inventory by Resource Graph, of the tenant that is served; the requests are its own."""
    azure.clear_requests()
    async with inventories(page_size=page_size) as (graph, _):
        return await graph.read(subscriptions, legacy=legacy)


async def by_arm(subscriptions: Sequence[str] = (SUBSCRIPTION,)) -> Inventory:
    async with inventories() as (_, arm):
        return await arm.read(subscriptions)


async def same_by_both(azure: LocalAzure, subscriptions: Sequence[str] = (SUBSCRIPTION,), *, page_size: int = 1000) -> Inventory:
    """The inventory by Resource Graph, which has been found to show the same key bindings as the one by ARM's lists."""
    listed = await by_arm(subscriptions)
    found = await by_graph(azure, subscriptions, page_size=page_size)
    assert in_order(found) == in_order(listed)
    assert (found.stores, found.unread) == (listed.stores, listed.unread)
    return found


def in_order(found: Inventory) -> list[KeyBinding]:
    """The key bindings, each one's consumers by id: lists and queries have orders of their own."""
    return [
        replace(each, consumers=tuple(sorted(each.consumers, key=lambda c: c.id.key))) for each in discover(found, BACKUP_APP_ID)
    ]


def requests(azure: LocalAzure) -> Counter[str]:
    """How often each of Resource Graph and ARM's paths was asked."""
    return Counter("graph" if each.method == "POST" else each.path for each in asked(azure))


def scenarios(found: Inventory) -> set[str]:
    return {each.scenario.value for each in discover(found, BACKUP_APP_ID)}


def confidential(name: str = "vm1", **where: str) -> Document:
    profile = {"diskEncryptionSet": {"id": set_id(**where)}, "securityEncryptionType": "DiskWithVMGuestState"}
    return machine(name, confidential=True, os_disk={"managedDisk": {"id": disk_id(), "securityProfile": profile}})


def protected(vm: Document, *others: Document) -> list[Document]:
    vault = recovery_vault()
    return [key_vault(rbac=True), vault, vm, protected_item(vm["id"], vault["id"]), *others]


def everything() -> list[Document]:
    """Every kind of binding but those of disk encryption."""
    return [
        *protected(confidential(), disk(), disk_encryption_set(key_uri=K1, store=None)),
        backup_vault("bv1", K1),
        recovery_vault("rsv2", K1),
    ]


# --- the same as by ARM ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scenario", "model"), HEALTHY)
async def test_a_healthy_tenant_is_found_as_by_arm(azure: LocalAzure, scenario: Scenario, model: PermissionModel) -> None:
    """Every scenario's key bindings are those that ARM's lists show, to the last member."""
    serve(azure, healthy(scenario, model))
    found = await same_by_both(azure)
    assert scenario.value in scenarios(found)


async def test_the_inventory_is_hearsay(azure: LocalAzure) -> None:
    """What comes from Resource Graph says that it may lack bindings; what ARM lists does not."""
    serve(azure, tenant(*everything()))
    listed, found = await by_arm(), await by_graph(azure)
    assert (listed.hearsay, found.hearsay, found.unread) == (False, True, ())
    assert await by_graph(azure, ()) == Inventory(hearsay=True)
    assert asked(azure) == []


async def test_it_is_a_port(azure: LocalAzure) -> None:
    """It stands where ARM's inventory stands, and lists subscriptions as that does."""
    serve(azure, tenant(key_vault(rbac=True), key_vault(rbac=True, subscription=OTHER_SUBSCRIPTION)))
    async with inventories() as (graph, _):
        consumers: Consumers = graph
        visible = await consumers.subscriptions()
    assert isinstance(visible, tuple)
    assert set(visible) == set(BOTH)


@pytest.mark.parametrize("place", ["machine", "disk", "data disk"])
@pytest.mark.parametrize("wrapped", [True, False])
async def test_disk_encryption(azure: LocalAzure, place: str, wrapped: bool) -> None:
    """Azure Disk Encryption is found on the machine or on any disk."""
    collection = encryption_settings(S1, K1 if wrapped else None, store=arm_id("Microsoft.KeyVault/vaults", "kv1"))
    vm, disks = machine(), [disk()]
    match place:
        case "machine":
            (entry,) = collection["encryptionSettings"]
            vm["properties"]["storageProfile"]["osDisk"]["encryptionSettings"] = {"enabled": True, **entry}
        case "disk":
            disks = [disk(encryptionSettingsCollection=collection)]
        case _:
            vm["properties"]["storageProfile"]["dataDisks"] = [{"managedDisk": {"id": disk_id("disk2")}}]
            disks.append(disk("disk2", encryptionSettingsCollection=collection))
    serve(azure, tenant(*protected(vm, *disks)))
    assert scenarios(await same_by_both(azure)) == {"ade-kek" if wrapped else "ade-bek"}


async def test_a_confidential_machine_by_its_disk(azure: LocalAzure) -> None:
    """An encryption set named by the disk alone counts."""
    of_disk = disk(securityProfile={"secureVMDiskEncryptionSetId": set_id()})
    serve(azure, tenant(*protected(machine(confidential=True), of_disk, disk_encryption_set(key_uri=K1, store=None))))
    assert scenarios(await same_by_both(azure)) == {"cvm-cmk", "cvm-des"}


async def test_identities_come_through(azure: LocalAzure) -> None:
    """The identity that a vault or an encryption set chooses, and the principal ids attached, are those that ARM shows."""
    identity = arm_id("Microsoft.ManagedIdentity/userAssignedIdentities", "id1")
    vault = backup_vault("bv1", K1, user_identity(identity))
    settings = vault["properties"]["securitySettings"]["encryptionSettings"]
    settings["kekIdentity"] = {"identityType": "UserAssigned", "identityId": identity}
    des = disk_encryption_set(key_uri=K1, store=None, identity=user_identity(identity))
    serve(azure, tenant(vault, *protected(confidential(), disk(), des)))
    assert scenarios(await same_by_both(azure)) == {"backup-vault-cmk", "cvm-cmk", "cvm-des"}


@pytest.mark.parametrize(
    ("member", "value", "found"),
    [
        ("protectionState", "ProtectionStopped", set()),
        ("protectionState", "protectionstopped", set()),
        ("currentProtectionState", "ProtectionStopped", set()),
        ("currentProtectionState", "ProtectionError", {"cvm-cmk", "cvm-des"}),
        ("backupManagementType", "AzureWorkload", set()),
        ("backupManagementType", "azureiaasvm", {"cvm-cmk", "cvm-des"}),
        ("sourceResourceId", arm_id("Microsoft.ClassicCompute/virtualMachines", "old"), set()),
    ],
)
async def test_which_protected_items_count(azure: LocalAzure, member: str, value: str, found: set[str]) -> None:
    """Only virtual machines whose protection is not stopped count, whichever of the two members tells."""
    resources = protected(confidential(), disk(), disk_encryption_set(key_uri=K1, store=None))
    resources[3]["properties"][member] = value
    serve(azure, tenant(*resources))
    inventory = await by_graph(azure)
    assert (scenarios(inventory), inventory.unread) == (found, ())


# --- many ------------------------------------------------------------------------------------------------------------------


async def test_two_subscriptions_are_asked_at_once(azure: LocalAzure) -> None:
    """Another subscription costs no query."""
    there = backup_vault("bv2", "https://kv2.vault.azure.net/keys/k1", subscription=OTHER_SUBSCRIPTION)
    serve(azure, tenant(*everything(), there, key_vault("kv2", rbac=True, subscription=OTHER_SUBSCRIPTION)))
    found = await same_by_both(azure, BOTH)
    assert {each.id.subscription_id for each in found.vaults} == set(BOTH)
    assert requests(azure)["graph"] == QUERIES + 1
    assert {each.id.subscription_id for each in (await by_graph(azure)).vaults} == {SUBSCRIPTION}


async def test_pages_of_three(azure: LocalAzure) -> None:
    """Small pages show the same, for one request a page."""
    many = [backup_vault(f"bv{number}", K1) for number in range(7)]
    stores = [key_vault(f"kv{number}", rbac=True) for number in range(5)]
    serve(azure, tenant(*many, *stores, managed_hsm()))
    await same_by_both(azure, page_size=3)
    # 6 key stores, 7 vaults, and five queries that find nothing
    assert requests(azure) == {"graph": 2 + 3 + 5}


async def test_twelve_hundred_vaults(azure: LocalAzure) -> None:
    """1,200 backup vaults with keys of 1,200 key vaults are nine requests."""
    stores = [key_vault(f"kv{number}", rbac=True) for number in range(1200)]
    vaults = [backup_vault(f"bv{number}", f"https://kv{number}.vault.azure.net/keys/k1") for number in range(1200)]
    serve(azure, tenant(*stores, *vaults))
    found = discover(await by_graph(azure), BACKUP_APP_ID)
    assert len({each.target.store_id for each in found} - {None}) == 1200
    assert requests(azure) == {"graph": QUERIES + 3}


async def test_requests_do_not_grow_with_machines(azure: LocalAzure) -> None:
    """Fifty machines with plain disks in rows cost what one does: nobody reads a machine, a disk or a set by its id."""
    vault = recovery_vault(key_uri=K1)
    machines, disks = [], []
    for number in range(50):
        vm = confidential(f"vm{number}")
        vm["properties"]["storageProfile"]["osDisk"]["managedDisk"]["id"] = disk_id(f"disk{number}")
        machines += [vm, protected_item(vm["id"], vault["id"])]
        disks.append(disk(f"disk{number}"))
    serve(azure, tenant(vault, *machines, *disks, disk_encryption_set(key_uri=K1, store=None)))
    found = await same_by_both(azure)
    assert len(found.vms) == 50
    assert requests(azure) == {"graph": QUERIES}


async def test_more_than_a_thousand_subscriptions(azure: LocalAzure) -> None:
    """Subscriptions beyond a thousand are another batch of queries."""
    there = guid(5000)
    serve(azure, tenant(*everything(), backup_vault("bv2", K1, subscription=there)))
    found = await by_graph(azure, (SUBSCRIPTION, *(guid(number) for number in range(100, 1100)), there), legacy=False)
    assert {each.id.subscription_id for each in found.vaults} == {SUBSCRIPTION, there}
    assert requests(azure) == {"graph": 2 * (QUERIES + 1)}


# --- older settings ----------------------------------------------------------------------------------------------------------


async def test_older_encryption_settings_are_read_when_asked(azure: LocalAzure) -> None:
    """A Recovery Services vault without a key in its row is asked for its older settings, one read a vault, or not at all."""
    older = recovery_vault("rsv1")
    serve(azure, tenant(older, recovery_vault("rsv2", K1), legacy_encryption(older["id"], K1)))
    assert {each.id.name for each in (await same_by_both(azure)).vaults} == {"rsv1", "rsv2"}
    path = f"{older['id']}/backupEncryptionConfigs/backupResourceEncryptionConfig"
    assert requests(azure) == {"graph": QUERIES, path: 1}
    assert {each.id.name for each in (await by_graph(azure, legacy=False)).vaults} == {"rsv2"}
    assert requests(azure) == {"graph": QUERIES}


async def test_a_misshapen_vault_is_said_without_older_settings(azure: LocalAzure) -> None:
    """Leaving older settings out hides no vault that cannot be read."""
    vault = recovery_vault("rsv9", K1)
    vault["properties"]["encryption"]["keyVaultProperties"] = 7
    serve(azure, tenant(vault))
    (unread,) = (await by_graph(azure, legacy=False)).unread
    assert (unread.source, unread.code.startswith("UnexpectedShape at $.data[0].properties.encryption")) == (vault["id"], True)


# --- rows that lag -----------------------------------------------------------------------------------------------------------


async def test_rows_that_lag_show_what_was(azure: LocalAzure) -> None:
    """Until Resource Graph catches up, what is new is missing, what is gone is still there, and only `hearsay` says so."""
    serve(azure, tenant(backup_vault("bv1", K1)))
    azure.freeze_graph()
    azure.change({"delete": backup_vault("bv1", None)["id"]})
    azure.change({"put": backup_vault("bv2", K1)})
    lagging = await by_graph(azure)
    assert ([each.id.name for each in lagging.vaults], lagging.unread, lagging.hearsay) == (["bv1"], (), True)
    azure.thaw_graph()
    assert [each.id.name for each in (await same_by_both(azure)).vaults] == ["bv2"]


async def test_a_machine_without_a_row_is_read_by_arm(azure: LocalAzure) -> None:
    """A machine that a protected item names and no row shows is read by its id, with its disks and its encryption set."""
    vault = recovery_vault(key_uri=K1)
    serve(azure, tenant(vault))
    azure.change({"put": protected_item(machine_id(), vault["id"])})
    azure.freeze_graph()
    collection = encryption_settings(S1, K1, store=arm_id("Microsoft.KeyVault/vaults", "kv1"))
    for each in (confidential(), disk(encryptionSettingsCollection=collection), disk_encryption_set(key_uri=K1, store=None)):
        azure.change({"put": each})
    found = await by_graph(azure)
    assert (scenarios(found), found.unread) == ({"rsv-cmk", "cvm-cmk", "cvm-des", "ade-kek"}, ())
    assert requests(azure) == {"graph": QUERIES, machine_id(): 1, disk_id(): 1, set_id(): 1}


async def test_an_encryption_set_without_a_row_is_read_by_arm(azure: LocalAzure) -> None:
    """A set in a subscription that was not asked for is read by its id."""
    elsewhere = disk_encryption_set(key_uri=K1, store=None, subscription=OTHER_SUBSCRIPTION)
    serve(azure, tenant(*protected(confidential(subscription=OTHER_SUBSCRIPTION), disk(), elsewhere)))
    await same_by_both(azure)
    found = await by_graph(azure, legacy=False)
    assert (scenarios(found), requests(azure)) == ({"cvm-cmk", "cvm-des"}, {"graph": QUERIES, elsewhere["id"]: 1})


async def test_a_machine_that_is_gone_is_passed_over(azure: LocalAzure) -> None:
    """A protected item whose machine ARM does not have needs no key."""
    vault = recovery_vault(key_uri=K1)
    serve(azure, tenant(vault, protected_item(machine_id("gone"), vault["id"])))
    found = await same_by_both(azure)
    assert (found.vms, requests(azure)[machine_id("gone")]) == ((), 1)


async def test_an_encryption_set_that_is_gone_is_unread(azure: LocalAzure) -> None:
    """A set that a machine names and ARM does not have hides a binding."""
    serve(azure, tenant(*protected(confidential(), disk())))
    (unread,) = (await same_by_both(azure)).unread
    assert (unread.source, unread.status) == (set_id(), 404)


async def test_rows_that_a_lost_right_hides(azure: LocalAzure, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where many machines have no row, so many are read by their ids and no more, and the rest is said to be unread."""
    monkeypatch.setattr(graph_inventory, "MOST_READS_BY_ID", 4)
    vault = recovery_vault(key_uri=K1)
    serve(azure, tenant(vault, *(protected_item(machine_id(f"vm{number}"), vault["id"]) for number in range(9))))
    azure.fault({"match": "GET */virtualMachines/*", "status": 403})
    found = await by_graph(azure)
    assert len(asked(azure)) == QUERIES + 4
    assert Counter((each.status, each.code) for each in found.unread) == {
        (403, "AuthorizationFailed"): 4,
        (None, "TooManyMissing"): 1,
    }
    assert scenarios(found) == {"rsv-cmk"}


# --- what could not be read ----------------------------------------------------------------------------------------------------


class Faulty(ResourceGraph):
    """Resource Graph with a fault set just before the query of that number."""

    def __init__(self, arm: JsonReader, azure: LocalAzure, number: int, fault: Document) -> None:
        super().__init__(arm, ManualClock())
        self._azure = azure
        self._left = number
        self._fault = {"match": POST, "times": 1, **fault}

    async def rows(self, query: str, scope: Scope, *, source: str, repair: str) -> Absent | Unread | tuple[Node, ...]:
        if self._left == 0:
            self._azure.fault(self._fault)
        self._left -= 1
        return await super().rows(query, scope, source=source, repair=repair)


async def with_fault_at(azure: LocalAzure, number: int, fault: Document) -> Inventory:
    """The inventory where the query of that number is answered by a fault."""
    azure.clear_requests()
    async with arm_reader() as arm:
        return await GraphInventory(arm, Faulty(arm, azure, number, fault)).read((SUBSCRIPTION,), legacy=False)


@pytest.mark.parametrize(
    ("number", "about", "lost"),
    [
        (STORES, "key stores", set()),
        (VAULTS, "backup vaults and Recovery Services vaults", {"backup-vault-cmk", "rsv-cmk"}),
        (MACHINES, "virtual machines", {"cvm-cmk", "cvm-des"}),
        (DISKS, "disks under Azure Disk Encryption or confidential encryption", set()),
        (SETS, "disk encryption sets", {"cvm-cmk", "cvm-des"}),
        (ITEMS, "protected items", {"cvm-cmk", "cvm-des"}),
        (INSTANCES, "backup instances", set()),
    ],
)
async def test_a_query_that_is_refused_is_named_and_the_rest_goes_on(
    azure: LocalAzure, number: int, about: str, lost: set[str]
) -> None:
    """A 403 is unread by name, with the role that would help; nobody reads one by one what the query did not show."""
    serve(azure, tenant(*everything()))
    found = await with_fault_at(azure, number, {"status": 403})
    assert found.unread == (
        Unread(
            source=f"{about} (Resource Graph, {SUBSCRIPTION})",
            status=403,
            code="AuthorizationFailed",
            repair="Reader on the subscription",
        ),
    )
    assert scenarios(found) == {"backup-vault-cmk", "rsv-cmk", "cvm-cmk", "cvm-des"} - lost
    assert requests(azure) == {"graph": QUERIES + (number != VAULTS)}


async def test_an_answer_that_is_cut_short_is_unread(azure: LocalAzure) -> None:
    """Truncated rows are said to be unread, and the other queries go on."""
    serve(azure, tenant(*everything()))
    cut = {"totalRecords": 1, "count": 1, "resultTruncated": "true", "data": [{"id": "/a"}]}
    found = await with_fault_at(azure, VAULTS, {"status": 200, "body": cut})
    assert [each.code for each in found.unread] == ["ResultTruncated"]
    assert scenarios(found) == {"cvm-cmk", "cvm-des"}


async def test_a_throttled_query_is_waited_out(azure: LocalAzure) -> None:
    """A 429 with the quota's header delays the inventory and takes nothing from it."""
    serve(azure, tenant(*everything()))
    azure.fault({"match": POST, "status": 429, "times": 1, "headers": {"x-ms-user-quota-resets-after": "00:00:05"}})
    clock = ManualClock()
    began = clock.now()
    async with inventories(clock=clock) as (graph, _):
        found = await graph.read((SUBSCRIPTION,), legacy=False)
    assert (len(scenarios(found)), found.unread, (clock.now() - began).total_seconds()) == (4, (), 5)


def misshapen(body: Document, path: str, value: Any) -> Document:
    *above, last = path.split(".")
    inner = body
    for name in above:
        inner = inner[name]
    inner[last] = value
    return body


@pytest.mark.parametrize(
    ("body", "path", "value", "told"),
    [
        (backup_vault("bv9", K1), "properties.securitySettings.encryptionSettings", [], "encryptionSettings"),
        (backup_vault("bv9", K1), "identity.userAssignedIdentities", {"id1": {}}, "identity.userAssignedIdentities.id1"),
        (recovery_vault("rsv9", K1), "properties.encryption.keyVaultProperties", 7, "properties.encryption.keyVaultProperties"),
        (key_vault("kv9", rbac=True), "properties.vaultUri", "kv9", "vaultUri"),
        (managed_hsm("hsm9"), "properties.hsmUri", 7, "hsmUri"),
    ],
)
async def test_one_misshapen_row_is_unread_and_the_others_go_on(
    azure: LocalAzure, body: Document, path: str, value: Any, told: str
) -> None:
    """A row of unexpected shape is unread with the place in it, and its neighbours are found."""
    serve(azure, tenant(backup_vault("bv1", K1), misshapen(body, path, value)))
    found = await by_graph(azure)
    (unread,) = found.unread
    assert (unread.source, unread.status) == (str(body["id"]), 200)
    assert unread.code.startswith("UnexpectedShape at $.data[")
    assert unread.code.endswith(f".{told}")
    assert [each.consumers[0].id.name for each in discover(found, BACKUP_APP_ID)] == ["bv1"]


@pytest.mark.parametrize(
    ("number", "row", "code", "left"),
    [
        (STORES, {"vaultUri": "https://kv1.vault.azure.net"}, "$.data[0].id", 4),
        (STORES, "text", "$.data[0]", 4),
        (VAULTS, {"id": "bv1", "type": "microsoft.dataprotection/backupvaults"}, "$.data[0].id", 2),
        (VAULTS, {"id": "/a", "type": "microsoft.web/sites"}, "$.data[0].type", 2),
        (VAULTS, {"id": 7}, "$.data[0].type", 2),
        (MACHINES, {"id": machine_id(), "properties": {"storageProfile": []}}, "$.data[0].properties.storageProfile", 2),
        (MACHINES, {"id": machine_id()}, "$.data[0].properties", 2),
        (DISKS, {"id": disk_id(), "properties": {"encryptionSettingsCollection": 7}}, ".encryptionSettingsCollection", 4),
        (SETS, {"id": set_id(), "properties": {"activeKey": {"keyUrl": "kv1"}}}, ".properties.activeKey.keyUrl", 2),
        (ITEMS, {"id": "/a", "properties": {}}, ".properties.virtualMachineId", 2),
        (ITEMS, "text", "$.data[0]", 2),
    ],
)
async def test_a_row_that_is_none_is_unread(azure: LocalAzure, number: int, row: object, code: str, left: int) -> None:
    """Whatever a row holds, it is unread with its place, and the other queries go on."""
    serve(azure, tenant(*everything()))
    body = {"totalRecords": 1, "count": 1, "resultTruncated": "false", "data": [row]}
    found = await with_fault_at(azure, number, {"status": 200, "body": body})
    shapes = [each.code for each in found.unread if each.code.startswith("UnexpectedShape at $.data[0]")]
    assert [each.endswith(code) for each in shapes] == [True], found.unread
    assert len(scenarios(found)) == left


# --- a recording ----------------------------------------------------------------------------------------------------------


async def test_recorded_machines_are_the_same_by_both(azure: LocalAzure) -> None:
    """One virtual machine as ARM and as Resource Graph showed it on one day, its resource group spelled differently, is one."""
    by_list, by_query = json.loads((corpus() / "arm" / "rec_c7n_resource_graph_vms.json").read_text(encoding="utf-8"))
    (listed,) = by_list["response"]["body"]["value"]
    table = by_query["response"]["body"]["data"]
    columns = [each["name"] for each in table["columns"]]
    (row,) = [dict(zip(columns, each, strict=True)) for each in table["rows"]]
    assert listed["id"] != row["id"]
    subscription = row["subscriptionId"]
    vault = recovery_vault(subscription=subscription)
    item = protected_item(listed["id"], vault["id"])
    disks = [{"id": each["managedDisk"]["id"], "properties": {}} for each in (
        row["properties"]["storageProfile"]["osDisk"], *row["properties"]["storageProfile"]["dataDisks"]
    )]  # fmt: skip
    found = []
    for vm in (listed, {name: row[name] for name in ("id", "location", "tags", "properties")}):
        serve(azure, tenant(vault, item, vm, *disks))
        inventory = await same_by_both(azure, (subscription,))
        found.append(inventory.vms)
    assert (len(found[0]), found[0]) == (1, found[1])
