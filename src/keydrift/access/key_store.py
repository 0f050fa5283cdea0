"""Key stores as such: there, of the right tenant, reachable, protected against deletion."""

from __future__ import annotations

from collections.abc import Iterator

from keydrift.access import remedies
from keydrift.access.finding import finding, unreadable
from keydrift.facts import Absent, DeletedKeyStore, KeyStore, KeyVault, ManagedHsm, Principal, StoreFacts, Unread, store_not_seen
from keydrift.model import Finding, KeyBinding, ResourceIdentity, Scenario

_VAULT_CMK = frozenset({Scenario.BACKUP_VAULT_CMK, Scenario.RSV_CMK})
_PROTECTED = _VAULT_CMK | {Scenario.CVM_CMK, Scenario.CVM_DES}


def judge_presence(binding: KeyBinding, host: str, facts: StoreFacts | None) -> Finding | None:
    """The finding for a key store that is not there or could not be read; None where it was read."""
    if facts is None:
        return unreadable(store_not_seen(host))
    match facts.store:
        case KeyVault() | ManagedHsm():
            return None
        case Unread() as unread:
            return unreadable(unread)
        case Absent():
            pass
    if isinstance(facts.deleted, DeletedKeyStore):
        purge = facts.deleted.purge_at.isoformat() if facts.deleted.purge_at else None
        until = f", recoverable until {purge}" if purge else ""
        return finding(
            "key-store-not-found",
            binding,
            f"key store `{facts.deleted.id.name}` is soft-deleted{until}; recovery restores neither its role assignments nor its "
            "event subscriptions",
            {"id": str(facts.deleted.id), "scheduledPurgeDate": purge},
            _recover_store(facts.deleted),
        )
    if facts.watched_before:
        summary = f"key store `{host}` no longer exists"
        remedy = f"restore the key from a backup into a new key store named {host.partition('.')[0]}"
        return finding("key-store-not-found", binding, summary, {"host": host}, remedy)
    return unreadable(facts.deleted if isinstance(facts.deleted, Unread) else store_not_seen(host))


def _recover_store(deleted: DeletedKeyStore) -> str:
    if deleted.id.resource_type.endswith("managedhsms"):
        return remedies.command("az", "keyvault", "recover", "--hsm-name", deleted.id.name)
    return remedies.command("az", "keyvault", "recover", "--name", deleted.id.name)


def judge_tenant(binding: KeyBinding, store: KeyStore, principal: Principal | None, tenant_id: str | None) -> Finding | None:
    """`tenant-mismatch`: an identity gets tokens of its own tenant only. `tenant_id` is the directory's, where apps live."""
    declared = binding.identity.tenant_id if isinstance(binding.identity, ResourceIdentity) else None
    theirs = (principal.tenant_id if principal else None) or declared or tenant_id
    if not theirs or not store.tenant_id or theirs.lower() == store.tenant_id.lower():
        return None
    return finding(
        "tenant-mismatch",
        binding,
        f"key store `{store.id.name}` belongs to tenant `{store.tenant_id}`, the identity to `{theirs}`",
        {"keyStoreTenantId": store.tenant_id, "identityTenantId": theirs},
        remedies.command("az", "keyvault", "update", "--name", store.id.name, "--set", f"properties.tenantId={theirs}"),
    )


def judge_settings(binding: KeyBinding, store: KeyStore) -> Iterator[Finding]:
    """Network and protection findings; they stand beside whatever else is found."""
    yield from _network(binding, store)
    if binding.scenario in _PROTECTED:
        yield from _protection(binding, store)
    if binding.scenario is Scenario.RSV_CMK:
        yield from _recovery_services(binding, store)


def _network(binding: KeyBinding, store: KeyStore) -> Iterator[Finding]:
    rules = store.network
    evidence = {
        "publicNetworkAccess": rules.public_network_access,
        "defaultAction": rules.default_action,
        "bypass": rules.bypass,
    }
    restricted = rules.public_network_access == "disabled" or rules.default_action == "deny"
    if rules.public_network_access == "securedbyperimeter":
        yield finding(
            "network-perimeter",
            binding,
            f"`{store.id.name}` is secured by a network security perimeter, which overrides the bypass for trusted services",
            evidence,
            remedies.update_store(store, "--public-network-access", "Enabled"),
        )
    elif restricted and rules.bypass == "none":
        # The bypass works with public access disabled too (network-security.md); without it nobody gets in
        yield finding(
            "network-blocked",
            binding,
            f"the firewall of `{store.id.name}` does not let trusted Microsoft services through",
            evidence,
            remedies.update_store(store, "--bypass", "AzureServices"),
        )
    identity = binding.identity
    by_user_identity = isinstance(identity, ResourceIdentity) and identity.user_assigned is not None
    if (
        binding.scenario in _VAULT_CMK
        and by_user_identity
        and (restricted or rules.public_network_access == "securedbyperimeter")
    ):
        yield finding(
            "network-unsupported-with-user-identity",
            binding,
            f"`{store.id.name}` restricts its network, which is not supported with a user-assigned identity",
            evidence,
            remedies.update_store(store, "--public-network-access", "Enabled", "--default-action", "Allow"),
        )


def _protection(binding: KeyBinding, store: KeyStore) -> Iterator[Finding]:
    name = store.id.name
    if not store.purge_protection:
        yield finding(
            "purge-protection-off",
            binding,
            f"purge protection is off on `{name}`: a deleted key can be purged at once",
            {"enablePurgeProtection": False},
            remedies.update_store(store, "--enable-purge-protection", "true"),
        )
    # An HSM's soft delete cannot be switched off (soft-delete-overview.md)
    if isinstance(store, KeyVault) and not store.soft_delete:
        yield finding(
            "soft-delete-off",
            binding,
            f"soft delete is off on `{name}`: a deleted key is gone at once",
            {"enableSoftDelete": False},
            remedies.command("az", "resource", "update", "--ids", str(store.id), "--set", "properties.enableSoftDelete=true"),
        )


def _recovery_services(binding: KeyBinding, store: KeyStore) -> Iterator[Finding]:
    if isinstance(store, ManagedHsm):
        return
    for consumer in binding.consumers:
        here, there = _region(consumer.location), _region(store.location)
        if here and there and here != there:
            yield finding(
                "region-mismatch",
                binding,
                f"`{consumer.id.name}` is in `{here}`, its key store `{store.id.name}` in `{there}`",
                {"consumerLocation": here, "keyStoreLocation": there},
                f"use a key in a key vault in {here}",
            )


def _region(location: str | None) -> str:
    return (location or "").replace(" ", "").lower()
