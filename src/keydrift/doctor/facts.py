"""What the doctor looks at and what it says: nouns, and the list of reads that every watched subscription has to allow. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from keydrift.facts import Unread
from keydrift.resource_id import ResourceId


class Status(StrEnum):
    """What a check came to: `unknown` where the answer says nothing of the monitor's rights, such as throttling."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of the table. `fix` is empty where there is nothing to do."""

    name: str
    status: Status
    found: str
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Whom a token is for, as far as it can be read."""

    object_id: str | None = None
    app_id: str | None = None
    tenant_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One item of a list; `host` is a Managed HSM's data plane."""

    id: ResourceId
    host: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The first page of a list; `more` says that others follow."""

    items: tuple[Listed, ...]
    more: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A role assignment where it stands; `principal_id` is a group's where `of_group`."""

    id: ResourceId
    scope: ResourceId
    principal_id: str
    of_group: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenVault:
    """A key vault as a list shows it: how many access policies it has, and whether its network is closed to the public."""

    id: ResourceId
    policies: int = 0
    restricted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EventTopic:
    """A system topic; `source` is what its events are about, `state` its provisioning state, lower case."""

    id: ResourceId
    source: ResourceId
    state: str = "succeeded"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListRead:
    """A list below a subscription that the product reads, and the permission it takes."""

    what: str
    path: str
    permission: str
    role: str = "Reader"


KEY_VAULTS, MANAGED_HSMS, RECOVERY_VAULTS = "key vaults", "Managed HSMs", "Recovery Services vaults"


def _resources(what: str, kind: str, version: str) -> ListRead:
    return ListRead(what=what, path=f"/providers/{kind}?api-version={version}", permission=f"{kind}/read")


# azure-facts 5.1; the versions are those that the product's own reads use
SUBSCRIPTION_READS: tuple[ListRead, ...] = (
    _resources(KEY_VAULTS, "Microsoft.KeyVault/vaults", "2026-02-01"),
    _resources("soft-deleted key vaults", "Microsoft.KeyVault/deletedVaults", "2026-02-01"),
    _resources(MANAGED_HSMS, "Microsoft.KeyVault/managedHSMs", "2026-02-01"),
    _resources("soft-deleted Managed HSMs", "Microsoft.KeyVault/deletedManagedHSMs", "2026-02-01"),
    _resources("role assignments", "Microsoft.Authorization/roleAssignments", "2022-04-01"),
    _resources("role definitions", "Microsoft.Authorization/roleDefinitions", "2022-04-01"),
    _resources("deny assignments", "Microsoft.Authorization/denyAssignments", "2022-04-01"),
    _resources("role assignment schedule instances", "Microsoft.Authorization/roleAssignmentScheduleInstances", "2020-10-01"),
    _resources("Backup vaults", "Microsoft.DataProtection/backupVaults", "2024-04-01"),
    _resources(RECOVERY_VAULTS, "Microsoft.RecoveryServices/vaults", "2024-04-01"),
    _resources("virtual machines", "Microsoft.Compute/virtualMachines", "2024-03-01"),
    _resources("disks", "Microsoft.Compute/disks", "2023-10-02"),
    _resources("disk encryption sets", "Microsoft.Compute/diskEncryptionSets", "2023-10-02"),
    _resources("user-assigned identities", "Microsoft.ManagedIdentity/userAssignedIdentities", "2023-01-31"),
)
PROTECTED_ITEMS = ListRead(
    what="protected items",
    path="/backupProtectedItems?api-version=2024-04-01&$filter=backupManagementType%20eq%20'AzureIaasVM'%20and%20itemType%20eq%20'VM'",
    permission="Microsoft.RecoveryServices/vaults/backupProtectedItems/read",
    role="Backup Reader",
)
ENCRYPTION_SETTINGS = ListRead(
    what="legacy encryption settings",
    path="/backupEncryptionConfigs/backupResourceEncryptionConfig?api-version=2024-04-01",
    permission="Microsoft.RecoveryServices/vaults/backupEncryptionConfigs/read",
    role="Backup Reader",
)
# Answered where the tenant has no Entra ID P2: then nobody has a time-bound assignment there
_NO_SCHEDULES = "aadpremiumlicenserequired"


def of_unread(name: str, unread: Unread) -> Check:
    """The check of a read that failed. A refusal or a broken path fails; throttling, outages and unknown shapes tell nothing."""
    answer = f"HTTP {unread.status} {unread.code}" if unread.status else f"no answer ({unread.code})"
    if unread.code.lower() == _NO_SCHEDULES:
        return Check(name=name, status=Status.OK, found="none: the tenant has no licence for time-bound assignments")
    untold = unread.status in {200, 429} or (unread.status or 0) >= 500
    status = Status.UNKNOWN if untold else Status.FAIL
    fix = "try again later: the service is throttling or failing" if untold and unread.status != 200 else unread.repair
    return Check(name=name, status=status, found=answer, fix=fix)


def exit_status(checks: tuple[Check, ...]) -> int:
    """0 everything ok or a warning, 1 something failed, 3 nothing failed but something could not be told."""
    found = {check.status for check in checks}
    return 1 if Status.FAIL in found else 3 if Status.UNKNOWN in found else 0
