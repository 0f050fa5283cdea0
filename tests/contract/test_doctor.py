"""`keydrift doctor` against the simulated tenant: everything ok where it is, and the right fix for each thing that is not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from keydrift.adapters.doctor_reader import DoctorReader
from keydrift.bootstrap import examined
from keydrift.doctor.examine import examine, worst_first
from keydrift.doctor.facts import Caller, Check, Status, exit_status
from keydrift.doctor.report import checks_document, print_checks
from keydrift.facts import Read, Unread
from keydrift.outbox import PendingAlert
from keydrift.ports import StateError
from keydrift.settings import Settings
from keydrift.state import State
from keydrift.tables import ALERT_COLUMNS
from keydrift_local.local_azure import LocalAzure
from support.azure import serve
from support.queues_memory import ManualClock
from support.tenants import (
    BACKUP_OBJECT_ID,
    HSM_CRYPTO_USER,
    NOW,
    OTHER_SUBSCRIPTION,
    SUBSCRIPTION,
    TENANT_ID,
    Document,
    arm_id,
    backup_vault,
    disk,
    guid,
    hsm_id,
    hsm_role_assignment,
    key_vault,
    machine,
    managed_hsm,
    protected_item,
    recovery_vault,
    tenant,
    user_assigned_identity,
    vault_id,
)

SCOPE = f"/subscriptions/{SUBSCRIPTION}"
MONITOR = "6d6f6e69-746f-4d72-8000-6b6579647269"
HSM_HOST = "hsm1.managedhsm.azure.net"
PREFIXES = [
    "Microsoft.Authorization/role",
    "Microsoft.KeyVault/",
    "Microsoft.ManagedIdentity/userAssignedIdentities/",
    "Microsoft.DataProtection/backupVaults/",
    "Microsoft.RecoveryServices/vaults/",
    "Microsoft.Compute/diskEncryptionSets/",
    "Microsoft.Compute/disks/",
    "Microsoft.Compute/virtualMachines/write",
    "Microsoft.Resources/subscriptions/resourceGroups/",
]
TYPES = [f"Microsoft.Resources.Resource{kind}Success" for kind in ("Write", "Delete", "Action")]
TOPIC = arm_id("Microsoft.EventGrid/systemTopics", "topic1")


def topic(name: str = "topic1", source: str = SCOPE) -> Document:
    return {"id": arm_id("Microsoft.EventGrid/systemTopics", name), "location": "global", "properties": {"source": source}}


def event_subscription(topic_id: str = TOPIC, **rules: Any) -> Document:
    filters = [{"operatorType": "StringBeginsWith", "key": "data.operationName", "values": PREFIXES}]
    return {
        "id": f"{topic_id}/eventSubscriptions/es1",
        "properties": {
            "provisioningState": "Succeeded",
            "destination": {"endpointType": "AzureFunction", "properties": {}},
            "filter": {"includedEventTypes": TYPES, "advancedFilters": filters, **rules},
        },
    }


def whole(*events: Document) -> Document:
    """A tenant with one of everything that is read, and events."""
    vault = recovery_vault()
    kv_topic = topic("topic2", vault_id())
    given = events or (topic(), event_subscription(), kv_topic, event_subscription(kv_topic["id"]))
    return tenant(
        key_vault(rbac=True),
        managed_hsm(),
        backup_vault("bv1", None),
        vault,
        machine(),
        disk(),
        protected_item(machine()["id"], vault["id"]),
        user_assigned_identity(),
        *given,
        managedHsms={hsm_id(): {"roleAssignments": [hsm_role_assignment(1, "/", HSM_CRYPTO_USER, BACKUP_OBJECT_ID)]}},
    )


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What the doctor said."""

    checks: tuple[Check, ...]

    def __getitem__(self, name: str) -> Check:
        return next(check for check in self.checks if check.name.startswith(name))

    @property
    def wrong(self) -> dict[str, Status]:
        return {check.name: check.status for check in self.checks if check.status is not Status.OK}


@pytest.fixture
def given(tmp_path: Path) -> dict[str, str]:
    """The settings of a healthy monitor."""
    return {"KEYDRIFT_STATE": f"sqlite:{tmp_path}/state.db", "KEYDRIFT_TENANT_ID": TENANT_ID}


async def diagnosed(azure: LocalAzure, given: Mapping[str, str], *, send_test: bool = False) -> Diagnosis:
    environment = {**azure.environment, **given}
    async with examined(Settings.from_environment(environment), environment, ManualClock()) as found:
        return Diagnosis(await examine(found, send_test=send_test))


async def test_a_healthy_monitor_has_nothing_to_mend(azure: LocalAzure, given: dict[str, str]) -> None:
    """Every check is ok on a healthy tenant, each thing that is read once being among them, and nothing is left behind."""
    serve(azure, whole())
    found = await diagnosed(azure, given)
    assert found.wrong == {}
    assert exit_status(found.checks) == 0
    names = [check.name.removeprefix(f"{SUBSCRIPTION}: ") for check in found.checks]
    assert len(names) == len(set(names))
    assert {
        "settings",
        *(f"token for {each}" for each in ("Azure Resource Manager", "Microsoft Graph", "Managed HSM", "Azure Monitor")),
        "visible subscriptions",
        "service principal of Backup Management Service",
        "group memberships",
        *("key vaults", "soft-deleted key vaults", "Managed HSMs", "soft-deleted Managed HSMs"),
        *("role assignments", "role definitions", "deny assignments", "role assignment schedule instances"),
        *("Backup vaults", "Recovery Services vaults", "protected items", "legacy encryption settings"),
        *("virtual machines", "disks", "disk encryption sets", "user-assigned identities"),
        *("events", "events of key vaults"),
        f"Managed HSM {HSM_HOST}: local role definitions",
        f"Managed HSM {HSM_HOST}: local role assignments",
        f"state store {given['KEYDRIFT_STATE']}",
        *("queue keydrift-recheck", "dead letters", "rejected rows"),
        f"Log Analytics {azure.environment['KEYDRIFT_DCR_ENDPOINT']}",
    } == set(names)
    assert azure.logs.rows("KeyDriftAlerts_CL") == []
    assert MONITOR in found["token for Azure Resource Manager"].found


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is refused, which check it fails, and what its fix has to say."""

    match: str
    name: str
    fix: tuple[str, ...]
    also: frozenset[str] = frozenset()


READER = f'az role assignment create --assignee-object-id {MONITOR} --role "Reader" --scope {SCOPE}'
ARM = f"GET https://management.azure.com{SCOPE}/providers/"


def read_fault(kind: str, name: str) -> Fault:
    return Fault(match=f"{ARM}{kind}", name=f"{SUBSCRIPTION}: {name}", fix=(f"{kind}/read", READER))


FAULTS = {
    "key vaults": read_fault("Microsoft.KeyVault/vaults", "key vaults"),
    "deleted vaults": read_fault("Microsoft.KeyVault/deletedVaults", "soft-deleted key vaults"),
    "managed hsms": read_fault("Microsoft.KeyVault/managedHSMs", "Managed HSMs"),
    "deleted hsms": read_fault("Microsoft.KeyVault/deletedManagedHSMs", "soft-deleted Managed HSMs"),
    "role assignments": read_fault("Microsoft.Authorization/roleAssignments", "role assignments"),
    "role definitions": read_fault("Microsoft.Authorization/roleDefinitions", "role definitions"),
    "deny assignments": read_fault("Microsoft.Authorization/denyAssignments", "deny assignments"),
    "schedules": read_fault("Microsoft.Authorization/roleAssignmentScheduleInstances", "role assignment schedule instances"),
    "backup vaults": read_fault("Microsoft.DataProtection/backupVaults", "Backup vaults"),
    "recovery vaults": Fault(
        match=f"{ARM}Microsoft.RecoveryServices/vaults",
        name=f"{SUBSCRIPTION}: Recovery Services vaults",
        fix=("Microsoft.RecoveryServices/vaults/read", READER),
        also=frozenset({f"{SUBSCRIPTION}: protected items", f"{SUBSCRIPTION}: legacy encryption settings"}),
    ),
    "protected items": Fault(
        match="GET *backupProtectedItems",
        name=f"{SUBSCRIPTION}: protected items",
        fix=("Microsoft.RecoveryServices/vaults/backupProtectedItems/read", '--role "Backup Reader"', "/vaults/rsv1"),
    ),
    "legacy encryption": Fault(
        match="GET *backupResourceEncryptionConfig",
        name=f"{SUBSCRIPTION}: legacy encryption settings",
        fix=("Microsoft.RecoveryServices/vaults/backupEncryptionConfigs/read", '--role "Backup Reader"'),
    ),
    "machines": read_fault("Microsoft.Compute/virtualMachines", "virtual machines"),
    "disks": read_fault("Microsoft.Compute/disks", "disks"),
    "disk encryption sets": read_fault("Microsoft.Compute/diskEncryptionSets", "disk encryption sets"),
    "identities": read_fault("Microsoft.ManagedIdentity/userAssignedIdentities", "user-assigned identities"),
    "subscriptions": Fault(
        match="GET https://management.azure.com/subscriptions", name="visible subscriptions", fix=("role assignment",)
    ),
    "graph": Fault(
        match="GET https://graph.microsoft.com/*",
        name="service principal of",
        fix=("Application.Read.All", "`KEYDRIFT_BACKUP_OBJECT_ID`"),
    ),
    "hsm definitions": Fault(
        match=f"GET https://{HSM_HOST}/*roleDefinitions",
        name=f"Managed HSM {HSM_HOST}: local role definitions",
        fix=("Managed HSM Crypto Auditor",),
    ),
    "hsm assignments": Fault(
        match=f"GET https://{HSM_HOST}/*roleAssignments",
        name=f"Managed HSM {HSM_HOST}: local role assignments",
        fix=("Managed HSM Crypto Auditor",),
    ),
    "topics": Fault(
        match=f"{ARM}Microsoft.EventGrid/systemTopics",
        name=f"{SUBSCRIPTION}: events",
        fix=("Microsoft.EventGrid/systemTopics/read", READER),
    ),
    "event subscriptions": Fault(
        match="GET */topic1/eventSubscriptions",
        name=f"{SUBSCRIPTION}: events",
        fix=("Microsoft.EventGrid/systemTopics/eventSubscriptions/read", READER),
    ),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_a_refused_read_fails_its_check_and_says_what_repairs_it(
    azure: LocalAzure, given: dict[str, str], fault: Fault
) -> None:
    """403 fails the check of that read and no other, and the fix names the permission, role, identity and scope."""
    serve(azure, whole())
    azure.fault({"match": fault.match, "status": 403})
    found = await diagnosed(azure, {**given, "KEYDRIFT_SUBSCRIPTIONS": SUBSCRIPTION})
    check = found[fault.name]
    assert check.status is Status.FAIL
    assert [each for each in fault.fix if each not in check.fix] == []
    assert "HTTP 403" in check.found
    assert set(found.wrong) == {check.name, *fault.also}
    assert exit_status(found.checks) == 1


@pytest.mark.parametrize(("status", "came_to"), [(429, Status.UNKNOWN), (503, Status.UNKNOWN), (0, Status.FAIL)])
async def test_throttling_is_unknown_and_a_broken_path_fails(
    azure: LocalAzure, given: dict[str, str], status: int, came_to: Status
) -> None:
    """A service that throttles or is down tells nothing of the monitor's rights; one that cannot be reached is a failure."""
    serve(azure, whole())
    azure.fault({"match": f"{ARM}Microsoft.Compute/disks", "status": status})
    found = await diagnosed(azure, given)
    assert found.wrong == {f"{SUBSCRIPTION}: disks": came_to}
    assert exit_status(found.checks) == (3 if came_to is Status.UNKNOWN else 1)
    fix = found[f"{SUBSCRIPTION}: disks"].fix
    assert fix == "try again later: the service is throttling or failing" if status else "network path" in fix


async def test_a_tenant_without_the_licence_has_no_time_bound_assignments(azure: LocalAzure, given: dict[str, str]) -> None:
    """The refusal for want of an Entra ID licence is no lack of rights: nothing is time-bound there."""
    serve(azure, whole())
    body = {"error": {"code": "AadPremiumLicenseRequired", "message": "no licence"}}
    azure.fault({"match": "GET *roleAssignmentScheduleInstances", "status": 400, "body": body})
    found = await diagnosed(azure, given)
    assert found.wrong == {}


@pytest.mark.parametrize("status", [0, 401, 403, 404, 429, 500])
async def test_nothing_raises_when_everything_fails(azure: LocalAzure, given: dict[str, str], status: int) -> None:
    """However all of Azure fails, every check still answers, none of Azure's with ok, each with a fix."""
    serve(azure, whole())
    for match in ("GET https://management*", "GET https://graph*", "GET https://hsm1*", "POST *"):
        azure.fault({"match": match, "status": status})
    found = await diagnosed(azure, {**given, "KEYDRIFT_SUBSCRIPTIONS": SUBSCRIPTION}, send_test=True)
    local = {"settings", f"state store {given['KEYDRIFT_STATE']}", "queue keydrift-recheck", "dead letters", "rejected rows"}
    fine = {check.name for check in found.checks if check.status is Status.OK and not check.name.startswith("token for")}
    assert fine == local
    assert [check.name for check in found.checks if check.status is not Status.OK and not check.fix] == []
    assert len(found.checks) > 20


async def test_nothing_raises_without_tokens(azure: LocalAzure, given: dict[str, str]) -> None:
    """Where no token is to be had, everything of Azure's fails, and the fix is about the identity."""
    serve(azure, whole())
    azure.fault({"match": "GET *", "status": 403})
    found = await diagnosed(azure, {**given, "KEYDRIFT_SUBSCRIPTIONS": SUBSCRIPTION}, send_test=True)
    assert found["token for Azure Resource Manager"].status is Status.FAIL
    assert "managed identity" in found["token for Azure Resource Manager"].fix
    fine = {check.name.partition(" ")[0] for check in found.checks if check.status is Status.OK}
    assert fine == {"settings", "state", "queue", "dead", "rejected"}


async def test_a_defect_of_a_check_is_a_line_of_the_report(
    azure: LocalAzure, given: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check that breaks is unknown, and every other check is still there."""

    async def broken(*_: object) -> None:
        raise RuntimeError

    serve(azure, whole())
    monkeypatch.setattr(DoctorReader, "event_topics", broken)
    found = await diagnosed(azure, given)
    assert found.wrong == {f"{SUBSCRIPTION}: events": Status.UNKNOWN}
    assert "RuntimeError" in found[f"{SUBSCRIPTION}: events"].found


# --- subscriptions and settings ---------------------------------------------------------------------------------------------


async def test_a_configured_subscription_that_cannot_be_seen(azure: LocalAzure, given: dict[str, str]) -> None:
    """A configured subscription that is not visible fails with the role assignment to make, and the visible one is examined."""
    serve(azure, whole())
    found = await diagnosed(azure, {**given, "KEYDRIFT_SUBSCRIPTIONS": f"{SUBSCRIPTION},{OTHER_SUBSCRIPTION}"})
    assert found.wrong == {f"subscription {OTHER_SUBSCRIPTION}": Status.FAIL}
    assert f"--scope /subscriptions/{OTHER_SUBSCRIPTION}" in found[f"subscription {OTHER_SUBSCRIPTION}"].fix
    assert found[f"{SUBSCRIPTION}: key vaults"].found == "1 read"


async def test_no_subscription_at_all(azure: LocalAzure, given: dict[str, str]) -> None:
    """An identity that sees nothing is told the role to get."""
    serve(azure, tenant())
    found = await diagnosed(azure, given)
    assert found.wrong == {"visible subscriptions": Status.FAIL}
    assert '--role "Reader"' in found["visible subscriptions"].fix


@pytest.mark.parametrize(
    ("changed", "name", "status", "fix"),
    [
        ({"KEYDRIFT_TENANT_ID": ""}, "KEYDRIFT_TENANT_ID", Status.WARN, f"set it to {TENANT_ID}"),
        ({"KEYDRIFT_TENANT_ID": guid(5)}, "KEYDRIFT_TENANT_ID", Status.FAIL, f"set it to {TENANT_ID}"),
        ({"KEYDRIFT_SUBSCRIPTION": "x"}, "KEYDRIFT_SUBSCRIPTION", Status.WARN, "correct its name"),
        (
            {"KEYDRIFT_DCR_ENDPOINT": "https://d.usgovvirginia-1.ingest.monitor.azure.us"},
            "KEYDRIFT_DCR_ENDPOINT",
            Status.FAIL,
            "one cloud",
        ),
    ],
)
async def test_settings_that_do_not_fit(
    azure: LocalAzure, given: dict[str, str], changed: dict[str, str], name: str, status: Status, fix: str
) -> None:
    """A misspelt name, another tenant's id and an address in another cloud each have their line."""
    serve(azure, whole())
    found = await diagnosed(azure, {**given, **changed})
    assert found.wrong == {f"setting {name}": status}
    assert fix in found[f"setting {name}"].fix


async def test_a_function_app_needs_more(azure: LocalAzure, given: dict[str, str]) -> None:
    """In Azure a state file fails, and so does a setting that the function host binds and that is not there."""
    serve(azure, whole())
    found = await diagnosed(azure, {**given, "WEBSITE_INSTANCE_ID": "1", "KEYDRIFT_RECHECK_QUEUE": "q"})
    names = (
        "KEYDRIFT_STATE",
        "KEYDRIFT_EVENTS_QUEUE",
        "KEYDRIFT_SWEEP_SCHEDULE",
        "KEYDRIFT_DELIVER_SCHEDULE",
        "KEYDRIFT_PULSE_SCHEDULE",
    )
    assert found.wrong == {f"setting {name}": Status.FAIL for name in names}


async def test_what_was_kept_aside_is_told(azure: LocalAzure, given: dict[str, str]) -> None:
    """An event of the last day that did not go the straight way is a warning, a row that was refused for good a failure."""
    serve(azure, whole())
    environment = {**azure.environment, **given}
    clock = ManualClock()
    async with examined(Settings.from_environment(environment), environment, clock) as found:
        state = State(found.entities)
        await state.dead_letter(clock.now() - timedelta(hours=25), "old", {"at": "", "error": "x"})
        await state.dead_letter(clock.now() - timedelta(hours=23), "new", {"at": "", "error": "x"})
        alert = PendingAlert(binding_id="b", row_key="alert/1", row={"AlertId": "a"})
        await state.outboxes[0].reject(alert, "HTTP 400: check the columns", clock.now())
    diagnosis = await diagnosed(azure, given)
    assert diagnosis.wrong == {"dead letters": Status.WARN, "rejected rows": Status.FAIL}
    assert diagnosis["dead letters"].found == "1 events within a day"
    assert "HTTP 400: check the columns" in diagnosis["rejected rows"].found


# --- the Backup service -----------------------------------------------------------------------------------------------------


async def test_no_backup_service_in_the_tenant(azure: LocalAzure, given: dict[str, str]) -> None:
    """An application that the directory does not know fails with the settings to check and the id to set by hand."""
    serve(azure, whole() | {"directory": {"servicePrincipals": [], "groups": []}})
    found = await diagnosed(azure, given)
    check = found["service principal of"]
    assert check.status is Status.FAIL
    assert [
        each for each in ("KEYDRIFT_BACKUP_APP_ID", "KEYDRIFT_BACKUP_OBJECT_ID", "KEYDRIFT_CLOUD") if each not in check.fix
    ] == []


async def test_groups_that_may_not_be_read_are_a_warning(azure: LocalAzure, given: dict[str, str]) -> None:
    """Only grants through groups need the memberships."""
    serve(azure, whole())
    azure.fault({"match": "GET *transitiveMemberOf", "status": 403})
    found = await diagnosed(azure, given)
    assert found.wrong == {"group memberships": Status.WARN}
    assert "GroupMember.Read.All" in found["group memberships"].fix
    assert exit_status(found.checks) == 0


async def test_the_object_id_by_hand_leaves_graph_alone(azure: LocalAzure, given: dict[str, str]) -> None:
    """With the object id set by hand, Microsoft Graph is not asked, not even for a token."""
    serve(azure, whole())
    azure.fault({"match": "GET https://graph.microsoft.com/*", "status": 403})
    found = await diagnosed(azure, {**given, "KEYDRIFT_BACKUP_OBJECT_ID": BACKUP_OBJECT_ID})
    assert found.wrong == {}
    assert [each for each in azure.requests if "graph.microsoft.com" in (each.host, each.query.get("resource", "")[8:])] == []


async def test_no_managed_hsm_needs_no_token_for_one(
    azure: LocalAzure, given: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no Managed HSM is seen, a token that cannot be had for one is a warning, and else a failure."""
    caller = DoctorReader.caller

    async def without(self: DoctorReader, service: str) -> Read[Caller]:
        refused = Unread(source="token", status=401, code="invalid_resource", repair="check the managed identity")
        return refused if service == "Managed HSM" else await caller(self, service)

    monkeypatch.setattr(DoctorReader, "caller", without)
    serve(azure, tenant(key_vault(rbac=True), topic(), event_subscription()))
    assert (await diagnosed(azure, given)).wrong == {"token for Managed HSM": Status.WARN}
    serve(azure, whole())
    assert (await diagnosed(azure, given)).wrong == {"token for Managed HSM": Status.FAIL}


# --- state, queue, Log Analytics --------------------------------------------------------------------------------------------


async def test_a_state_store_that_cannot_be_written(azure: LocalAzure, given: dict[str, str], tmp_path: Path) -> None:
    """A file that is no database fails the store and the queue in it, with what to do."""
    serve(azure, whole())
    (tmp_path / "state.db").write_text("no database, but long enough to be taken for a file of something else" * 20)
    found = await diagnosed(azure, given)
    assert set(found.wrong.values()) == {Status.FAIL}
    assert {name.partition(" ")[0] for name in found.wrong} == {"state", "queue"}


async def test_a_storage_account_that_cannot_be_reached(azure: LocalAzure, given: dict[str, str]) -> None:
    """An account whose name does not resolve fails the store and the queue, with the endpoint to check."""
    serve(azure, whole())
    found = await diagnosed(azure, {**given, "KEYDRIFT_STATE": "https://nobody.table.core.windows.net"})
    assert set(found.wrong.values()) == {Status.FAIL}
    assert len(found.wrong) == 2
    assert {check.fix for check in found.checks if check.name in found.wrong} == {"check the account's endpoint and the network"}


async def test_a_test_row_is_marked_and_whole(azure: LocalAzure, given: dict[str, str]) -> None:
    """`--send-test` sends one row with every column that says of itself that it is a test."""
    serve(azure, whole())
    found = await diagnosed(azure, given, send_test=True)
    assert found.wrong == {}
    (row,) = azure.logs.rows("KeyDriftAlerts_CL")
    assert set(row) == set(ALERT_COLUMNS)
    assert (row["Kind"], row["Severity"], row["TenantId"]) == ("opened", "Informational", TENANT_ID)
    assert "This is a test" in str(row["Summary"])
    assert str(row["TimeGenerated"]).startswith(NOW[:10])


@pytest.mark.parametrize(
    ("status", "fix"), [(403, "Monitoring Metrics Publisher"), (404, "KEYDRIFT_DCR_RULE_ID"), (413, "report")]
)
async def test_a_test_row_that_is_refused(azure: LocalAzure, given: dict[str, str], status: int, fix: str) -> None:
    """A row that is not accepted fails with the role, setting or size to mend."""
    serve(azure, whole())
    azure.fault({"match": "POST *", "status": status})
    found = await diagnosed(azure, given, send_test=True)
    assert list(found.wrong.values()) == [Status.FAIL]
    assert fix in found["Log Analytics"].fix


async def test_no_rule_to_send_to(azure: LocalAzure, given: dict[str, str]) -> None:
    """Without a data collection rule alerts only wait, which is a failure with the settings to make."""
    serve(azure, whole())
    found = await diagnosed(azure, {**given, "KEYDRIFT_DCR_ENDPOINT": "", "KEYDRIFT_DCR_RULE_ID": ""}, send_test=True)
    assert found.wrong == {"Log Analytics": Status.FAIL}
    assert "`KEYDRIFT_DCR_ENDPOINT` and `KEYDRIFT_DCR_RULE_ID`" in found["Log Analytics"].fix


# --- events -------------------------------------------------------------------------------------------------------------------

EVENTS = f"{SUBSCRIPTION}: events"


def with_properties(document: Document, **properties: Any) -> Document:
    return document | {"properties": document["properties"] | properties}


def by_operation(operator: str, *values: str) -> Document:
    return {"advancedFilters": [{"operatorType": operator, "key": "data.operationName", "values": list(values)}]}


@pytest.mark.parametrize(
    ("events", "status", "found", "fix"),
    [
        ([topic("other", "/subscriptions/x")], Status.FAIL, "no system topic", "Microsoft.Resources.Subscriptions"),
        ([topic()], Status.FAIL, "without an event subscription", "event subscription to the function app"),
        ([topic(), event_subscription(includedEventTypes=TYPES[:1])], Status.FAIL, "are filtered out", "vaults/delete"),
        (
            [topic(), event_subscription(**by_operation("StringBeginsWith", "Microsoft.KeyVault/"))],
            Status.FAIL,
            "are filtered out",
            "Microsoft.Authorization/roleAssignments/write",
        ),
        ([topic(), event_subscription(subjectBeginsWith=f"{SCOPE}/resourceGroups/rg1")], Status.FAIL, "are filtered out", "role"),
        ([topic(), event_subscription(subjectEndsWith="kv1")], Status.FAIL, "are filtered out", "role"),
        (
            [topic(), with_properties(event_subscription(), provisioningState="AwaitingManualAction")],
            Status.FAIL,
            "no event subscription delivers",
            "again",
        ),
        ([topic(), with_properties(event_subscription(), expirationTimeUtc=NOW)], Status.FAIL, "delivers", "expiration"),
        (
            [topic(), event_subscription(advancedFilters=[{"operatorType": "StringIn", "key": "data.status", "values": ["x"]}])],
            Status.UNKNOWN,
            "differs from event to event",
            "data.operationName",
        ),
        ([topic(), event_subscription(includedEventTypes=None, advancedFilters=None)], Status.OK, "every operation", ""),
        (
            [topic(), event_subscription(includedEventTypes=["All"], **by_operation("StringNotContains", "listKeys"))],
            Status.OK,
            "every operation",
            "",
        ),
        ([topic(), event_subscription(subjectBeginsWith=f"{SCOPE}/")], Status.OK, "every operation", ""),
        (
            [{**event_subscription(), "id": f"{SCOPE}/providers/Microsoft.EventGrid/eventSubscriptions/es1"}],
            Status.OK,
            "every",
            "",
        ),
    ],
)
async def test_event_subscriptions(
    azure: LocalAzure, given: dict[str, str], events: list[Document], status: Status, found: str, fix: str
) -> None:
    """What an event subscription filters out fails by name; no filter, and one that lets all that matters pass, is ok."""
    serve(azure, whole(*events))
    check = (await diagnosed(azure, {**given, "KEYDRIFT_SUBSCRIPTIONS": SUBSCRIPTION}))[EVENTS]
    assert (check.status, found in check.found, fix in check.fix) == (status, True, True), check


async def test_two_event_subscriptions_cover_together(azure: LocalAzure, given: dict[str, str]) -> None:
    """What one event subscription filters out, another may let through."""
    half = event_subscription(**by_operation("StringBeginsWith", *PREFIXES[:4]))
    rest = event_subscription(**by_operation("StringBeginsWith", *PREFIXES[4:])) | {"id": f"{TOPIC}/eventSubscriptions/es2"}
    serve(azure, whole(topic(), half, rest))
    assert (await diagnosed(azure, given))[EVENTS].status is Status.OK
    serve(azure, whole(topic(), half))
    assert (await diagnosed(azure, given))[EVENTS].status is Status.FAIL


async def test_a_tenant_file_without_event_grid_counts_as_subscribed(azure: LocalAzure, given: dict[str, str]) -> None:
    """A tenant file that says nothing about Event Grid has events delivered, so the check is ok and says on whose word; once an
    event subscription is named, only those named count."""
    serve(azure, tenant(key_vault(rbac=True)))
    found = (await diagnosed(azure, given))[EVENTS]
    assert (found.status, "`counted-as-subscribed`" in found.found) == (Status.OK, True), found
    azure.change({"put": topic("other", "/subscriptions/x")})
    assert (await diagnosed(azure, given))[EVENTS].status is Status.FAIL


# --- the report -----------------------------------------------------------------------------------------------------------------


def check(name: str, status: Status) -> Check:
    return Check(name=name, status=status, found="found [x]", fix="fix it")


def test_the_worst_comes_first_and_decides() -> None:
    """Failures come first, warnings do not fail, and the exit status is that of the worst."""
    every = tuple(check(str(status), status) for status in Status)
    assert [each.status for each in worst_first(every)] == [Status.FAIL, Status.UNKNOWN, Status.WARN, Status.OK]
    assert exit_status(every) == 1
    assert exit_status(tuple(each for each in every if each.status is not Status.FAIL)) == 3
    assert exit_status(tuple(each for each in every if each.status in (Status.OK, Status.WARN))) == 0


def test_the_table_and_the_document_say_the_same() -> None:
    """Name, status, finding and fix stand in both, brackets included."""
    shown = StringIO()
    print_checks(Console(file=shown, width=200), [check("kv[1]", Status.FAIL), check("two", Status.OK)])
    text = shown.getvalue()
    assert [each for each in ("kv[1]", "fail", "found [x]", "fix it", "2 checks: 1 ok, 1 fail") if each not in text] == []
    document = checks_document([check("kv[1]", Status.FAIL)], ManualClock().now() + timedelta(hours=1))
    assert json.loads(json.dumps(document)) == {
        "schema_version": "1",
        "generated_at": "2026-01-01T01:00:00.000Z",
        "checks": [{"name": "kv[1]", "status": "fail", "found": "found [x]", "fix": "fix it"}],
    }


async def test_a_refused_queue_is_told(azure: LocalAzure, given: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue that refuses fails with the role that its error names."""

    async def refused(*_: object) -> None:
        raise StateError("the queue `q` answered 403 `AuthorizationPermissionMismatch`: give the role", transient=False)

    serve(azure, whole())
    monkeypatch.setattr("keydrift.adapters.sqlite_queue.SqliteQueue.try_out", refused)
    found = await diagnosed(azure, given)
    assert found.wrong == {"queue keydrift-recheck": Status.FAIL}
    assert found["queue"].fix == "give the role"
