"""The mutation matrix: for each finding code what takes the key away, what only looks like it, and where neither applies.

A cell is a code, a scenario and a permission model. It holds a mutation of the healthy tenant with a near-miss beside it, or the
reason why the code cannot come up there; and, where the mutation raises no event, the reason for that. The changes themselves are
in `matrix_edits`, how each cell is played in `matrix_cases`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from keydrift.model import PermissionModel, Scenario
from scenario import matrix_edits as edits
from scenario.matrix_edits import ADE, BY_BACKUP, DAY, NOW
from support.tenants import HEALTHY, Document, healthy

type Edit = Callable[[Document, Scenario, PermissionModel], object]
type Reasons = Mapping[Scenario | PermissionModel, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One code: `when` it is found, the mutation and the near-miss in words and as edits, and where it does not apply.

    `shared` says that the mutation is of the key or its store, so that another binding of the same key shows the code too, in
    whichever cells it applies. `elsewhere` are the reasons; one for a scenario goes before one for a permission model.

    The same as events: `before` (for the near-miss `near_before`) is what the tenant holds already when the change comes, else it
    is the healthy one. `unheard` are the reasons why the change alone tells nothing and a sweep has to find it: Azure emits no
    event, makes the change itself (`by_azure`), or the event's recheck leaves it to a daily count (`daily`). `assumed` is what
    the event stands on that no document says, `besides` another way to the code that raises no event. `announced` is Key
    Vault's event when the time itself has brought the finding about. `repoints`: the consumer names another key afterwards,
    which is told besides.
    """

    code: str
    when: str
    change: str
    near: str
    mutate: Edit
    near_miss: Edit
    shared: bool = False
    elsewhere: Reasons = field(default_factory=lambda: MappingProxyType({}))
    before: Edit | None = None
    near_before: Edit | None = None
    unheard: Reasons = field(default_factory=lambda: MappingProxyType({}))
    by_azure: bool = False
    daily: bool = False
    repoints: bool = False
    assumed: str = ""
    besides: str = ""
    announced: str = ""

    def silence(self, scenario: Scenario, model: PermissionModel) -> str | None:
        """Why the change alone tells nothing; None where its event does."""
        return self.unheard.get(scenario) or self.unheard.get(model)

    def start(self, scenario: Scenario, model: PermissionModel, edit: Edit | None) -> Document:
        """The tenant before a change, with that edit (`before` or `near_before`)."""
        tenant = healthy(scenario, model)
        if edit is not None:
            edit(tenant, scenario, model)
        return tenant

    def reason(self, scenario: Scenario, model: PermissionModel) -> str | None:
        """Why the code does not apply to a scenario under a model; None where it does."""
        return self.elsewhere.get(scenario) or self.elsewhere.get(model)

    def mutated(self, scenario: Scenario, model: PermissionModel) -> Document | str:
        """The tenant that shows the code, or the reason why there is none."""
        return self._edited(scenario, model, self.mutate)

    def missed(self, scenario: Scenario, model: PermissionModel) -> Document | str:
        """The tenant that looks alike and is held, or the reason why there is none."""
        return self._edited(scenario, model, self.near_miss)

    def _edited(self, scenario: Scenario, model: PermissionModel, edit: Edit) -> Document | str:
        reason = self.reason(scenario, model)
        if reason is not None:
            return reason
        tenant = healthy(scenario, model)
        edit(tenant, scenario, model)
        return tenant


def _but(scenarios: frozenset[Scenario], reason: str) -> dict[Scenario | PermissionModel, str]:
    """The reason for every scenario except these."""
    return {each: reason for each in Scenario if each not in scenarios}


def _each(scenarios: frozenset[Scenario], reason: str) -> dict[Scenario | PermissionModel, str]:
    """The reason for each of these scenarios."""
    return dict.fromkeys(scenarios, reason)


def _models(**reasons: str) -> dict[Scenario | PermissionModel, str]:
    return {PermissionModel(name.replace("_", "-")): reason for name, reason in reasons.items()}


VAULT_CMK = frozenset({Scenario.BACKUP_VAULT_CMK, Scenario.RSV_CMK})
BACKED_UP = frozenset({Scenario.ADE_KEK, Scenario.CVM_CMK})
OWN_IDENTITY = frozenset(Scenario) - BY_BACKUP

_POLICIES_ONLY = _models(
    rbac="an RBAC vault ignores access policies", managed_hsm="a Managed HSM has local roles, no access policies"
)
_RBAC_ONLY = _models(
    access_policy="an access-policy vault ignores Azure's data roles and denies",
    managed_hsm="Azure's roles and denies reach the control plane of a Managed HSM only",
)
_HSM_ONLY = _models(access_policy="a vault has no local roles", rbac="a vault has no local roles")
_HSM_IS_SILENT = _models(managed_hsm="Managed HSM does not support Event Grid")
_KEYS_ARE_SILENT = _HSM_IS_SILENT | dict.fromkeys(
    (PermissionModel.ACCESS_POLICY, PermissionModel.RBAC),
    "Key Vault tells of new versions only, not of deletion, disabling or changed dates",
)
_KEYLESS: Reasons = {Scenario.ADE_BEK: "needs a secret only, no key"}
_NO_SECRET = _but(ADE, "needs a key only, no secret")
_NO_OWN_IDENTITY = _but(
    OWN_IDENTITY, "the principal is the Backup Management Service, an application: its codes are `principal-*`"
)
_NO_APP = _but(BY_BACKUP, "the principal is a managed identity: its codes are `identity-*`")
_NOT_PROTECTED = _each(ADE, "disk encryption asks for it itself; Azure Backup's pages do not")


def _everywhere(reason: str) -> dict[Scenario | PermissionModel, str]:
    return dict.fromkeys(PermissionModel, reason)


def _set(**properties: object) -> Edit:
    """Set properties of the key store."""
    return lambda tenant, _scenario, model: edits.store(tenant, model).update(properties)


def _network(default_action: str, bypass: str) -> Edit:
    return _set(networkAcls={"defaultAction": default_action, "bypass": bypass})


def _key(**attributes: object) -> Edit:
    return lambda tenant, _scenario, model: edits.key_of(tenant, model).update(attributes=attributes)


def _secret(**attributes: object) -> Edit:
    return lambda tenant, _scenario, _model: edits.secret_of(tenant).update(attributes=attributes)


def _app(**properties: object) -> Edit:
    return lambda tenant, _scenario, _model: tenant["directory"]["servicePrincipals"][0].update(properties)


def _encryption_set(**properties: object) -> Edit:
    return lambda tenant, scenario, _model: edits.consumer(tenant, scenario)["properties"].update(properties)


def _encryption_state(state: str) -> Edit:
    def edit(tenant: Document, scenario: Scenario, _model: PermissionModel) -> None:
        edits.consumer(tenant, scenario)["properties"]["securitySettings"]["encryptionSettings"]["state"] = state

    return edit


def _move_to_vault_in(location: str) -> Edit:
    def edit(tenant: Document, scenario: Scenario, model: PermissionModel) -> None:
        edits.near_move_to_other_vault(tenant, scenario, model)
        edits.other_vault(tenant)["location"] = location

    return edit


GRANTS = (
    Row(
        code="access-policy-absent",
        when="no access policy names the principal or one of its groups",
        change="the principal's entry is removed",
        near="the entry names a group of the principal instead",
        mutate=edits.drop_policy,
        near_miss=edits.near_policy_of_group,
        elsewhere=_POLICIES_ONLY,
        besides="the principal leaves the group that the entry names",
    ),
    Row(
        code="access-policy-insufficient",
        when="entries exist, and required permissions are missing from their union",
        change="one required word is removed from the principal's entry",
        near="words that the scenario does not need are removed, the others spelled in other letter case",
        mutate=edits.drop_required_word,
        near_miss=edits.near_drop_unneeded_words,
        elsewhere=_POLICIES_ONLY,
    ),
    Row(
        code="access-policy-compound-only",
        when="the only entries that name the principal carry an `applicationId`",
        change="the principal's entry gets an `applicationId`",
        near="a compound entry is added beside the plain one",
        mutate=edits.make_compound,
        near_miss=edits.near_compound_beside,
        elsewhere=_POLICIES_ONLY,
    ),
    Row(
        code="permission-model-switched",
        when="the model in force does not grant, and the other model's grants would have",
        change="`enableRbacAuthorization` is turned over, the grants stay",
        near="it is turned over in a vault that has the grants of both models",
        mutate=edits.switch_model,
        near_miss=edits.near_switch_with_grants_of_both,
        shared=True,
        elsewhere=_models(managed_hsm="a Managed HSM has one permission model"),
    ),
    Row(
        code="role-assignment-absent",
        when="no role assignment at or above the key reaches the principal, directly or through groups",
        change="the principal's role assignments are deleted",
        near="they stand on the resource group instead, spelled in other letter case",
        mutate=edits.drop_assignments,
        near_miss=edits.near_assign_above,
        elsewhere=_RBAC_ONLY,
        besides="the principal leaves the group that holds the role, or the assignment stands at a management group",
    ),
    Row(
        code="role-insufficient",
        when="role assignments reach the principal, and their effective data actions lack required ones",
        change="a role that looks sufficient replaces the right one (Secrets User, Crypto Service Encryption User, Reader)",
        near="a custom role of exactly the required data actions replaces it",
        mutate=edits.lesser_role,
        near_miss=edits.near_exact_custom_role,
        elsewhere=_RBAC_ONLY,
    ),
    Row(
        code="deny-assignment",
        when="a deny assignment covers a required data action",
        change="a deny assignment on the vault takes one required data action from the principal",
        near="a deny assignment takes all of them from everyone and excludes the principal",
        mutate=edits.deny,
        near_miss=edits.near_deny_that_excludes,
        elsewhere=_RBAC_ONLY,
        assumed="deny assignments are mostly made by Azure itself: that those made by others raise this event is not documented",
    ),
    Row(
        code="role-assignment-conditional",
        when="only a grant under a condition that cannot be evaluated would give a required secret action",
        change="the assignment for secrets gets a condition on the secret's name",
        near="the same, and an assignment without a condition stands on the subscription",
        mutate=edits.put_under_condition,
        near_miss=edits.near_condition_beside,
        elsewhere=_but(ADE, "conditions cannot restrict keys, and it needs a key only") | _RBAC_ONLY,
    ),
    Row(
        code="hsm-role-assignment-absent",
        when="no local role assignment at `/`, `/keys` or the key reaches the principal",
        change="the principal's local role assignment is deleted",
        near="it stands at `/` instead",
        mutate=edits.drop_assignments,
        near_miss=edits.near_assign_above,
        elsewhere=_HSM_ONLY,
        unheard=_HSM_IS_SILENT,
    ),
    Row(
        code="hsm-role-insufficient",
        when="local role assignments reach the principal, and data actions are missing",
        change="a role that looks sufficient replaces the right one (Crypto Service Encryption User, Managed HSM Backup)",
        near="a custom local role of exactly the required data actions replaces it",
        mutate=edits.lesser_role,
        near_miss=edits.near_exact_custom_role,
        elsewhere=_HSM_ONLY,
        unheard=_HSM_IS_SILENT,
    ),
    Row(
        code="advisory-permission-missing",
        when="only permissions are missing that some of Azure's documents ask for and others do not",
        change="the advisory word is removed (`secrets/backup` for `ade-kek`, `keys/list` for a vault's key)",
        near="words are removed that no document asks for",
        mutate=edits.drop_advisory_word,
        near_miss=edits.near_drop_unneeded_words,
        elsewhere=_but(VAULT_CMK | {Scenario.ADE_KEK}, "the documents agree about its permissions")
        | _models(
            rbac="one read action covers get and list, and the only documented role has `secrets/backup/action`",
            managed_hsm="one read action covers get and list",
        ),
    ),
    Row(
        code="grant-expiring",
        when="the last sufficient grant is time-bound and ends within the horizon (14 days unless set otherwise)",
        change="the principal's role assignments end in 10 days",
        near="they end in 60 days",
        mutate=lambda tenant, scenario, _model: edits.end_grants(tenant, scenario, "2026-01-11T00:00:00Z"),
        near_miss=lambda tenant, scenario, _model: edits.end_grants(tenant, scenario, "2026-03-02T00:00:00Z"),
        elsewhere=_models(
            access_policy="an access policy has no end", managed_hsm="a Managed HSM's local role assignment has no end"
        ),
        unheard=_everywhere("Privileged Identity Management keeps a grant's end for itself: no event is documented"),
    ),
)

PRINCIPALS = (
    Row(
        code="identity-none",
        when="the consumer is to use its system-assigned identity and has none",
        change="the consumer's identity is switched off",
        near="a user-assigned identity is attached beside the system-assigned one",
        mutate=edits.drop_identity,
        near_miss=edits.near_identity_of_both_kinds,
        elsewhere=_NO_OWN_IDENTITY,
    ),
    Row(
        code="identity-detached",
        when="the user-assigned identity that the encryption settings name is not attached",
        change="the settings name a user-assigned identity, and the consumer has only its system-assigned one",
        near="it is attached, spelled in other letter case than in the settings",
        mutate=edits.detach_identity,
        near_miss=edits.near_user_identity,
        elsewhere=_but(VAULT_CMK, "a disk encryption set uses the identity that is attached: no setting names another")
        | _each(BY_BACKUP, _NO_OWN_IDENTITY[Scenario.ADE_BEK]),
        before=edits.near_user_identity,
    ),
    Row(
        code="identity-deleted",
        when="the user-assigned identity that the encryption settings name does not exist",
        change="the identity resource is gone, still attached by name",
        near="it is there",
        mutate=edits.delete_user_identity,
        near_miss=edits.near_user_identity,
        elsewhere=_NO_OWN_IDENTITY,
        before=edits.near_user_identity,
    ),
    Row(
        code="principal-not-found",
        when="the service principal is not in the directory",
        change="the Backup Management Service's service principal is deleted",
        near="it has another display name",
        mutate=lambda tenant, _scenario, _model: tenant["directory"]["servicePrincipals"].clear(),
        near_miss=_app(displayName="Azure Backup"),
        elsewhere=_NO_APP,
        unheard=_everywhere("the directory emits no Event Grid event"),
    ),
    Row(
        code="principal-disabled",
        when="the service principal is disabled",
        change="`accountEnabled` is false",
        near="`accountEnabled` is null",
        mutate=_app(accountEnabled=False),
        near_miss=_app(accountEnabled=None),
        elsewhere=_NO_APP,
        unheard=_everywhere("the directory emits no Event Grid event"),
    ),
)

OBJECTS = (
    Row(
        code="key-not-found",
        when="the key, or the version that a consumer pins, does not exist",
        change="the key is deleted",
        near="a new version takes the place of the current one, and no consumer pins a version",
        mutate=lambda tenant, _scenario, model: edits.drop_object(tenant, model, "keys"),
        near_miss=lambda tenant, _scenario, model: edits.near_new_version(tenant, model),
        shared=True,
        elsewhere=_KEYLESS,
        unheard=_KEYS_ARE_SILENT,
    ),
    Row(
        code="key-disabled",
        when="the key is disabled",
        change="`enabled` is false",
        near="another key, whose name begins with this one's, is disabled",
        mutate=_key(enabled=False),
        near_miss=lambda tenant, _scenario, model: edits.near_other_object_disabled(tenant, model, "keys"),
        shared=True,
        elsewhere=_KEYLESS,
        unheard=_KEYS_ARE_SILENT,
    ),
    Row(
        code="key-expired",
        when="the key's expiry has passed: lost where it has to wrap, at risk for `ade-kek` and `cvm-cmk`",
        change="the key expired yesterday",
        near="it expires in 60 days",
        mutate=_key(exp=NOW - DAY),
        near_miss=_key(exp=NOW + 60 * DAY),
        shared=True,
        elsewhere=_KEYLESS,
        unheard=_KEYS_ARE_SILENT,
        announced="KeyExpired",
    ),
    Row(
        code="key-not-yet-valid",
        when="the key's validity has not begun: the level is as for `key-expired`",
        change="it begins tomorrow",
        near="it began yesterday",
        mutate=_key(nbf=NOW + DAY),
        near_miss=_key(nbf=NOW - DAY),
        shared=True,
        elsewhere=_KEYLESS,
        unheard=_KEYS_ARE_SILENT,
    ),
    Row(
        code="key-expiring",
        when="the key expires within the horizon (30 days unless set otherwise)",
        change="it expires in 10 days",
        near="it expires in 31 days",
        mutate=_key(exp=NOW + 10 * DAY),
        near_miss=_key(exp=NOW + 31 * DAY),
        shared=True,
        elsewhere=_KEYLESS,
        unheard=_KEYS_ARE_SILENT,
        announced="KeyNearExpiry",
    ),
    Row(
        code="key-unsuitable",
        when="the key is not RSA or RSA-HSM of 2048, 3072 or 4096 bits",
        change="the key is an elliptic-curve key",
        near="the key is an RSA-HSM key of 4096 bits",
        mutate=edits.make_elliptic,
        near_miss=edits.near_other_rsa,
        elsewhere=_but(VAULT_CMK, "only a vault's own encryption states which keys it takes; disk encryption checks its own"),
        unheard=_HSM_IS_SILENT,
    ),
    Row(
        code="key-versions-excessive",
        when="the key has more than 500 versions, beyond which Key Vault does not back it up",
        change="the key has 501 versions",
        near="it has 500",
        mutate=lambda tenant, _scenario, model: edits.give_versions(tenant, model, 501),
        near_miss=lambda tenant, _scenario, model: edits.give_versions(tenant, model, 500),
        elsewhere=_but(BACKED_UP, "the scenario does not back the key up"),
        before=lambda tenant, _scenario, model: edits.give_versions(tenant, model, 500),
        near_before=lambda tenant, _scenario, model: edits.give_versions(tenant, model, 499),
        unheard=_everywhere(
            "`KeyNewVersionCreated` is heard, but counting takes many reads: it is done once a day, not for an event"
        )
        | _HSM_IS_SILENT,
        daily=True,
    ),
    Row(
        code="key-rotation-stalled",
        when="the disk encryption set reports `autoKeyRotationError`",
        change="it reports that the key vault refuses access",
        near="it reports that automatic rotation is off",
        mutate=_encryption_set(autoKeyRotationError={"code": "KeyVaultAccessForbidden", "message": "forbidden"}),
        near_miss=_encryption_set(autoKeyRotationError=None, rotationToLatestKeyVersionEnabled=False),
        elsewhere=_but(frozenset({Scenario.CVM_DES}), "only a disk encryption set reports on rotation"),
        unheard=_everywhere("Azure notes the error itself, at nobody's request"),
        by_azure=True,
    ),
    Row(
        code="secret-not-found",
        when="the disk's encryption secret does not exist",
        change="the secret is deleted",
        near="the secret is there, its id in other letter case",
        mutate=lambda tenant, _scenario, model: edits.drop_object(tenant, model, "secrets"),
        near_miss=lambda tenant, _scenario, _model: edits.near_spelled_otherwise(tenant, "secrets"),
        elsewhere=_NO_SECRET,
        unheard=_KEYS_ARE_SILENT,
    ),
    Row(
        code="secret-disabled",
        when="the disk's encryption secret is disabled",
        change="`enabled` is false",
        near="another secret, whose name begins with this one's, is disabled",
        mutate=_secret(enabled=False),
        near_miss=lambda tenant, _scenario, model: edits.near_other_object_disabled(tenant, model, "secrets"),
        elsewhere=_NO_SECRET,
        unheard=_KEYS_ARE_SILENT,
    ),
    Row(
        code="secret-expiring",
        when="the disk's encryption secret expires within the horizon",
        change="it expires in 10 days",
        near="it expires in 31 days",
        mutate=_secret(exp=NOW + 10 * DAY),
        near_miss=_secret(exp=NOW + 31 * DAY),
        elsewhere=_NO_SECRET,
        unheard=_KEYS_ARE_SILENT,
        announced="SecretNearExpiry",
    ),
)

STORES = (
    Row(
        code="key-store-not-found",
        when="the key store is soft-deleted, or one that was watched is not there any more",
        change="the key store is among the deleted ones",
        near="another key store, whose name begins with this one's, is among them",
        mutate=edits.delete_store,
        near_miss=edits.near_other_store_deleted,
        shared=True,
    ),
    Row(
        code="network-blocked",
        when="public access is disabled or the default action is Deny, and trusted services are not let through",
        change="the firewall denies by default, with bypass None",
        near="it denies by default, with bypass AzureServices",
        mutate=_network("Deny", "None"),
        near_miss=_network("Deny", "AzureServices"),
        shared=True,
    ),
    Row(
        code="network-perimeter",
        when="a network security perimeter overrides the bypass for trusted services",
        change="public access is `SecuredByPerimeter`",
        near="public access is `Disabled`, and trusted services are let through",
        mutate=_set(publicNetworkAccess="SecuredByPerimeter"),
        near_miss=_set(publicNetworkAccess="Disabled"),
        shared=True,
        assumed="that joining a perimeter, a resource of its own, also writes the key store is not documented",
    ),
    Row(
        code="network-unsupported-with-user-identity",
        when="a network-restricted key store and a user-assigned identity",
        change="the firewall denies by default, and the vault uses a user-assigned identity",
        near="the vault uses a user-assigned identity, and the network is open",
        mutate=edits.restrict_with_user_identity,
        near_miss=edits.near_user_identity,
        elsewhere=_but(VAULT_CMK, "Azure states the restriction for a vault's own encryption only"),
        before=edits.near_user_identity,
    ),
    Row(
        code="purge-protection-off",
        when="purge protection is off; Microsoft requires it, access works without",
        change="purge protection is off",
        near="the retention of deleted keys is the shortest possible, 7 days",
        mutate=_set(enablePurgeProtection=None),
        near_miss=_set(softDeleteRetentionInDays=7),
        shared=True,
        elsewhere=_NOT_PROTECTED,
        assumed="Azure lets it be switched on only, so this event stands for a store that is written without it",
    ),
    Row(
        code="soft-delete-off",
        when="soft delete is off; Microsoft requires it, access works without",
        change="soft delete is off",
        near="the retention of deleted keys is the shortest possible, 7 days",
        mutate=_set(enableSoftDelete=False),
        near_miss=_set(softDeleteRetentionInDays=7),
        shared=True,
        elsewhere=_NOT_PROTECTED | _models(managed_hsm="a Managed HSM's soft delete cannot be switched off"),
        assumed="Azure lets it be switched on only, so this event stands for a store that is written without it",
    ),
    Row(
        code="tenant-mismatch",
        when="the key store belongs to another tenant than the identity",
        change="the key store's `tenantId` is another tenant",
        near="it is the same, in other letter case",
        mutate=_set(tenantId="00000000-0000-0000-0000-0000000000bb"),
        near_miss=_set(tenantId="00000000-0000-0000-0000-0000000000AA"),
        shared=True,
    ),
    Row(
        code="region-mismatch",
        when="the Recovery Services vault and the key vault are in different regions",
        change="the vault is pointed at a key in a key vault in North Europe that grants all",
        near="that key vault's region is written `West Europe`",
        mutate=_move_to_vault_in("northeurope"),
        near_miss=_move_to_vault_in("West Europe"),
        elsewhere=_but(frozenset({Scenario.RSV_CMK}), "Azure asks for one region for a Recovery Services vault only"),
        repoints=True,
    ),
    Row(
        code="hsm-unsupported",
        when="a Recovery Services vault's key is in a Managed HSM",
        change="the vault is pointed at a key in a Managed HSM that grants all",
        near="it is pointed at a key in another key vault that grants all",
        mutate=edits.move_to_hsm,
        near_miss=edits.near_move_to_other_vault,
        elsewhere=_but(
            frozenset({Scenario.RSV_CMK}), "a Managed HSM is supported, or (disk encryption) holds no secrets and cannot come up"
        ),
        repoints=True,
    ),
    Row(
        code="encryption-inconsistent",
        when="the backup vault's encryption state is `Inconsistent`",
        change="the state is `Inconsistent`",
        near="the state is `ENABLED`, in capitals",
        mutate=_encryption_state("Inconsistent"),
        near_miss=_encryption_state("ENABLED"),
        elsewhere=_but(frozenset({Scenario.BACKUP_VAULT_CMK}), "only a backup vault reports its encryption state"),
        unheard=_everywhere("Azure notes the state itself, at nobody's request"),
        by_azure=True,
    ),
)

MONITOR = (
    Row(
        code="facts-unreadable",
        when="a read that the verdict needs was refused, timed out or failed",
        change="the read of the key or secret is refused (403)",
        near="that read fails once (503)",
        mutate=lambda tenant, scenario, model: edits.refuse_object(tenant, scenario, model, 403, None),
        near_miss=lambda tenant, scenario, model: edits.refuse_object(tenant, scenario, model, 503, 1),
        shared=True,
        unheard=_everywhere("a refused read is no change of the tenant: only who reads meets it"),
    ),
)

ROWS: dict[str, Row] = {row.code: row for row in (*GRANTS, *PRINCIPALS, *OBJECTS, *STORES, *MONITOR)}

# Codes that no tenant shows at one look, and why
NOT_SCANNED: dict[str, str] = {
    "key-changed": "a scan has no memory: the code compares a consumer's key with the one it used before",
    "recheck-failed": "a scan has no queue: the code stands for a recheck that failed again and again",
}

CELLS: tuple[tuple[str, Scenario, PermissionModel], ...] = tuple(
    (code, scenario, model) for code in ROWS for scenario, model in HEALTHY
)
COVERED = tuple(cell for cell in CELLS if ROWS[cell[0]].reason(cell[1], cell[2]) is None)
