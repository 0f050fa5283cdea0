"""The finding codes: the product's interface. Never rename one, only add.

`level` is what a finding makes of the verdict; `by_itself` marks an at_risk finding that becomes lost with time alone, which
Sentinel shows as Medium rather than Low; a `notice` stands beside a verdict and makes nothing of it. `causes` and `repairs` are
the ARM operations (lower case; Key Vault's own event types too) that may bring the finding about or end it: an actor is named
only for an operation that fits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from keydrift.model import Finding, Scenario, State

_ASSIGNMENT = "microsoft.authorization/roleassignments/"
_DEFINITION = "microsoft.authorization/roledefinitions/"
_DENY = "microsoft.authorization/denyassignments/"
_POLICY = (
    "microsoft.keyvault/vaults/write",
    "microsoft.keyvault/vaults/accesspolicies/write",
    "microsoft.keyvault.vaultaccesspolicychanged",
)
_HSM = ("microsoft.keyvault/managedhsms/write", "microsoft.keyvault/managedhsms/delete")
_CONSUMER = (
    "microsoft.dataprotection/backupvaults/write",
    "microsoft.recoveryservices/vaults/write",
    "microsoft.compute/diskencryptionsets/write",
)
_REPOINTING = (
    *_CONSUMER,
    "microsoft.recoveryservices/vaults/backupencryptionconfigs/write",
    "microsoft.compute/virtualmachines/write",
    "microsoft.compute/disks/write",
)
_IDENTITY = "microsoft.managedidentity/userassignedidentities/"
_KEY = ("microsoft.keyvault/vaults/keys/write", "microsoft.keyvault.keynewversioncreated")
_SECRET = ("microsoft.keyvault/vaults/secrets/write", "microsoft.keyvault.secretnewversioncreated")
_GROUP_DELETE = "microsoft.resources/subscriptions/resourcegroups/delete"
_STORE_DELETE = ("microsoft.keyvault/vaults/delete", "microsoft.keyvault/managedhsms/delete", _GROUP_DELETE)
_STORE_WRITE = ("microsoft.keyvault/vaults/write", "microsoft.keyvault/managedhsms/write")


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """One way to lose a key, or one thing that endangers it."""

    title: str
    level: State
    by_itself: bool = False
    notice: bool = False
    causes: tuple[str, ...] = ()
    repairs: tuple[str, ...] = ()


_LOST, _RISK, _UNKNOWN = State.LOST, State.AT_RISK, State.UNKNOWN

CODES: dict[str, Code] = {
    # grants
    "access-policy-absent": Code(
        title="No access policy names the backup identity", level=_LOST, causes=_POLICY, repairs=_POLICY
    ),
    "access-policy-insufficient": Code(
        title="The access policy lacks required permissions", level=_LOST, causes=_POLICY, repairs=_POLICY
    ),
    "access-policy-compound-only": Code(
        title="Only a compound access policy names the backup identity", level=_LOST, causes=_POLICY, repairs=_POLICY
    ),
    "permission-model-switched": Code(
        title="The vault's permission model was switched", level=_LOST, causes=_POLICY, repairs=(*_POLICY, _ASSIGNMENT + "write")
    ),
    "role-assignment-absent": Code(
        title="No role assignment reaches the backup identity",
        level=_LOST,
        causes=(_ASSIGNMENT + "delete",),
        repairs=(_ASSIGNMENT + "write",),
    ),
    "role-insufficient": Code(
        title="The assigned roles lack required data actions",
        level=_LOST,
        causes=(_DEFINITION + "write", _DEFINITION + "delete", _ASSIGNMENT + "delete"),
        repairs=(_DEFINITION + "write", _ASSIGNMENT + "write"),
    ),
    "deny-assignment": Code(
        title="A deny assignment blocks the backup identity",
        level=_LOST,
        causes=(_DENY + "write",),
        repairs=(_DENY + "delete", _DENY + "write"),
    ),
    "role-assignment-conditional": Code(
        title="The only sufficient grant carries a condition",
        level=_UNKNOWN,
        causes=(_ASSIGNMENT + "write", _ASSIGNMENT + "delete"),
        repairs=(_ASSIGNMENT + "write",),
    ),
    "hsm-role-assignment-absent": Code(title="No Managed HSM local role reaches the backup identity", level=_LOST),
    "hsm-role-insufficient": Code(title="The Managed HSM local roles lack required data actions", level=_LOST),
    "advisory-permission-missing": Code(
        title="A permission that some of Azure's documents ask for is missing", level=_RISK, causes=_POLICY, repairs=_POLICY
    ),
    "grant-expiring": Code(title="The last sufficient grant ends soon", level=_RISK, by_itself=True),
    # principals
    "identity-none": Code(title="The consumer has no system-assigned identity", level=_LOST, causes=_CONSUMER, repairs=_CONSUMER),
    "identity-detached": Code(
        title="The user-assigned identity is not attached", level=_LOST, causes=_CONSUMER, repairs=_CONSUMER
    ),
    "identity-deleted": Code(
        title="The user-assigned identity was deleted",
        level=_LOST,
        causes=(_IDENTITY + "delete", _GROUP_DELETE),
        repairs=(_IDENTITY + "write", *_CONSUMER),
    ),
    "principal-not-found": Code(title="The service principal is not in the directory", level=_LOST),
    "principal-disabled": Code(title="The service principal is disabled", level=_LOST),
    # keys and secrets
    "key-not-found": Code(title="The key does not exist", level=_LOST, repairs=_KEY),
    "key-disabled": Code(title="The key is disabled", level=_LOST, repairs=_KEY),
    "key-expired": Code(title="The key has expired", level=_LOST, repairs=_KEY),
    "key-not-yet-valid": Code(title="The key is not valid yet", level=_LOST, repairs=_KEY),
    "key-expiring": Code(title="The key expires soon", level=_RISK, by_itself=True, repairs=_KEY),
    "key-changed": Code(title="A consumer now uses another key", level=_RISK, notice=True, causes=_REPOINTING),
    "key-unsuitable": Code(title="The key's type or size is not supported", level=_LOST, causes=_CONSUMER, repairs=_CONSUMER),
    "key-versions-excessive": Code(title="The key has too many versions to be backed up", level=_RISK, causes=_KEY),
    "key-rotation-stalled": Code(
        title="Key rotation of the disk encryption set has stalled",
        level=_RISK,
        by_itself=True,
        causes=_CONSUMER,
        repairs=_CONSUMER,
    ),
    "secret-not-found": Code(title="The encryption secret does not exist", level=_LOST, repairs=_SECRET),
    "secret-disabled": Code(title="The encryption secret is disabled", level=_LOST, repairs=_SECRET),
    "secret-expiring": Code(title="The encryption secret expires soon", level=_RISK, by_itself=True, repairs=_SECRET),
    # key stores
    "key-store-not-found": Code(title="The key store does not exist", level=_LOST, causes=_STORE_DELETE, repairs=_STORE_WRITE),
    "network-blocked": Code(
        title="The key store's firewall blocks Azure Backup", level=_LOST, causes=_STORE_WRITE, repairs=_STORE_WRITE
    ),
    "network-perimeter": Code(
        title="A network security perimeter overrides the bypass for trusted services",
        level=_RISK,
        causes=_STORE_WRITE,
        repairs=_STORE_WRITE,
    ),
    "network-unsupported-with-user-identity": Code(
        title="A network-restricted vault is not supported with a user-assigned identity",
        level=_RISK,
        causes=(*_STORE_WRITE, *_CONSUMER),
        repairs=(*_STORE_WRITE, *_CONSUMER),
    ),
    "purge-protection-off": Code(title="Purge protection is off", level=_RISK, causes=_STORE_WRITE, repairs=_STORE_WRITE),
    "soft-delete-off": Code(title="Soft delete is off", level=_RISK, causes=_STORE_WRITE, repairs=_STORE_WRITE),
    "tenant-mismatch": Code(
        title="The key store belongs to another tenant", level=_LOST, causes=(*_STORE_WRITE, *_CONSUMER), repairs=_STORE_WRITE
    ),
    "region-mismatch": Code(title="The key store is in another region", level=_RISK, causes=_CONSUMER, repairs=_CONSUMER),
    "hsm-unsupported": Code(
        title="A Managed HSM is not supported for this scenario", level=_RISK, causes=_CONSUMER, repairs=_CONSUMER
    ),
    "encryption-inconsistent": Code(
        title="The backup vault's encryption state is inconsistent",
        level=_RISK,
        by_itself=True,
        causes=_CONSUMER,
        repairs=_CONSUMER,
    ),
    # the monitor itself
    "facts-unreadable": Code(title="keydrift could not read what it needs to know", level=_UNKNOWN),
    "recheck-failed": Code(title="A recheck failed again and again", level=_UNKNOWN),
}

# Wrapping is refused outside a key's validity, decrypting is not: only scenarios that wrap lose the key (azure-facts 2.1).
_EXPIRY_ENDANGERS_ONLY = frozenset({Scenario.ADE_KEK, Scenario.CVM_CMK})


def level_of(code: str, scenario: Scenario) -> State:
    """The level of a code in a scenario: expiry loses the key where it has to wrap, and endangers it elsewhere."""
    if code in ("key-expired", "key-not-yet-valid") and scenario in _EXPIRY_ENDANGERS_ONLY:
        return State.AT_RISK
    return CODES[code].level


def severity_of(state: State, findings: tuple[Finding, ...]) -> str:
    """Sentinel's words: High, Medium, Low, Informational (there is no Critical)."""
    return severity_of_codes(state, (finding.code for finding in findings))


def severity_of_codes(state: State, codes: Iterable[str]) -> str:
    """The same, by finding codes."""
    match state:
        case State.LOST:
            return "High"
        case State.UNKNOWN:
            return "Medium"
        case State.AT_RISK:
            return "Medium" if any(CODES[code].by_itself for code in codes) else "Low"
        case State.HELD:
            return "Informational"
