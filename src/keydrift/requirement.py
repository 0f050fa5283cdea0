"""What each scenario needs under each permission model: data, each line with its source.

Wire names die elsewhere; the spellings here are Azure's own. Access-policy permissions are written `keys/get`, `secrets/backup`;
under Azure RBAC and Managed HSM a permission is the full data action. One read action covers get *and* list there, so the
documents' conflict about `list` exists for access policies only (azure-facts 1.1, 1.2).
"""

from __future__ import annotations

from dataclasses import dataclass

from keydrift.key_uri import ObjectKind
from keydrift.model import PermissionModel, Scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """One permission on a key or a secret. `source` is the page (or azure-facts row) that asks for it."""

    name: str
    on: ObjectKind
    source: str
    advisory: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """All permissions of one scenario under one model, and the built-in role that the documents name for it."""

    scenario: Scenario
    model: PermissionModel
    permissions: tuple[Permission, ...]
    role: str | None = None


_ADE = "back-up-encrypted-vms (Provide permissions); backup-azure-vms-automation"
_CVM = "confidential-vm-backup; Backup-Confidential-VMs-with-CMK (configure)"
_DES = "quick-create-confidential-vm-azure-cli; confidential-vm-restore"
_BACKUP_VAULT = "encryption-at-rest-with-cmk-for-backup-vault"
_RSV = "encryption-at-rest-with-cmk"


def _words(source: str, on: ObjectKind, *words: str, advisory: bool = False) -> tuple[Permission, ...]:
    return tuple(Permission(name=f"{on}/{word}", on=on, source=source, advisory=advisory) for word in words)


def _vault(source: str, on: ObjectKind, *actions: str) -> tuple[Permission, ...]:
    return tuple(Permission(name=f"Microsoft.KeyVault/vaults/{on}/{action}", on=on, source=source) for action in actions)


def _hsm(source: str, *actions: str) -> tuple[Permission, ...]:
    return tuple(
        Permission(name=f"Microsoft.KeyVault/managedHsm/keys/{action}/action", on="keys", source=source) for action in actions
    )


_SECRET_ACTIONS = ("getSecret/action", "readMetadata/action", "backup/action")
_CRYPTO_ACTIONS = ("read", "wrap/action", "unwrap/action")
_ENCRYPTION_USER = "Key Vault Crypto Service Encryption User"
_HSM_ENCRYPTION_USER = "Managed HSM Crypto Service Encryption User"


def _requirements() -> tuple[Requirement, ...]:
    policy, rbac, hsm = PermissionModel.ACCESS_POLICY, PermissionModel.RBAC, PermissionModel.MANAGED_HSM
    wrapping = ("get", "wrapKey", "unwrapKey")

    def entry(
        scenario: Scenario, model: PermissionModel, *groups: tuple[Permission, ...], role: str | None = None
    ) -> Requirement:
        return Requirement(scenario=scenario, model=model, permissions=tuple(p for g in groups for p in g), role=role)

    return (
        # A1: secrets only; the documents say to remove key permissions
        entry(Scenario.ADE_BEK, policy, _words(_ADE, "secrets", "get", "list", "backup")),
        # A3; for secrets alone the three secret actions (inference)
        entry(Scenario.ADE_BEK, rbac, _vault(_ADE, "secrets", *_SECRET_ACTIONS), role="Key Vault Administrator"),
        # A2; secrets backup is documented both ways (conflict K2), hence advisory
        entry(
            Scenario.ADE_KEK,
            policy,
            _words(_ADE, "keys", "get", "list", "backup"),
            _words(_ADE, "secrets", "get", "list"),
            _words(_ADE, "secrets", "backup", advisory=True),
        ),
        entry(
            Scenario.ADE_KEK,
            rbac,
            _vault(_ADE, "keys", "read", "backup/action"),
            _vault(_ADE, "secrets", *_SECRET_ACTIONS),
            role="Key Vault Administrator",
        ),
        # B1 to B3
        entry(Scenario.CVM_CMK, policy, _words(_CVM, "keys", "get", "list", "backup")),
        entry(Scenario.CVM_CMK, rbac, _vault(_CVM, "keys", "read", "backup/action"), role="Key Vault Crypto User"),
        entry(Scenario.CVM_CMK, hsm, _hsm(_CVM, "read", "backup"), role="Managed HSM Crypto User"),
        # B4 to B6: needed to boot and restore; K3: actions, not role names
        entry(Scenario.CVM_DES, policy, _words(_DES, "keys", *wrapping)),
        entry(Scenario.CVM_DES, rbac, _vault(_DES, "keys", *_CRYPTO_ACTIONS), role=_ENCRYPTION_USER),
        entry(Scenario.CVM_DES, hsm, _hsm(_DES, "read", "wrap", "unwrap"), role=_HSM_ENCRYPTION_USER),
        # C1 to C3; list is documented both ways (conflict K1)
        entry(
            Scenario.BACKUP_VAULT_CMK,
            policy,
            _words(_BACKUP_VAULT, "keys", *wrapping),
            _words(_BACKUP_VAULT, "keys", "list", advisory=True),
        ),
        entry(Scenario.BACKUP_VAULT_CMK, rbac, _vault(_BACKUP_VAULT, "keys", *_CRYPTO_ACTIONS), role=_ENCRYPTION_USER),
        entry(Scenario.BACKUP_VAULT_CMK, hsm, _hsm(_BACKUP_VAULT, "read", "wrap", "unwrap"), role=_HSM_ENCRYPTION_USER),
        # D1, D2; D3 (Managed HSM) is not documented: `hsm-unsupported`
        entry(Scenario.RSV_CMK, policy, _words(_RSV, "keys", *wrapping), _words(_RSV, "keys", "list", advisory=True)),
        entry(Scenario.RSV_CMK, rbac, _vault(_RSV, "keys", *_CRYPTO_ACTIONS), role=_ENCRYPTION_USER),
    )


REQUIREMENTS: dict[tuple[Scenario, PermissionModel], Requirement] = {(r.scenario, r.model): r for r in _requirements()}


def requirement_for(scenario: Scenario, model: PermissionModel) -> Requirement | None:
    """The requirement, or None where Azure does not support the scenario under that model (ADE or a Recovery Services vault's
    CMK in a Managed HSM)."""
    return REQUIREMENTS.get((scenario, model))
