"""Vault access policies: the union of the entries that name the principal or one of its groups.

Policies hold for the whole vault; there is no per-key entry (azure-facts 4.2). An entry with an `applicationId` is compound: it
serves an application acting for the principal and grants the principal itself nothing.
"""

from __future__ import annotations

from keydrift.access.weighing import Doubt, Need, Weighed
from keydrift.facts import AccessPolicy, KeyVault, Read, Unread
from keydrift.model import Effect, ProofStep

GROUPS_NOT_READ = Unread(
    source="group memberships",
    status=None,
    code="NotRead",
    repair="Microsoft Graph GroupMember.Read.All for the monitor's identity",
)


def _counts(vault: KeyVault, entry: AccessPolicy) -> bool:
    """Whether an entry can grant its principal anything: not compound, and of the vault's own tenant."""
    return entry.application_id is None and not _of_another_tenant(vault, entry)


def _of_another_tenant(vault: KeyVault, entry: AccessPolicy) -> bool:
    return bool(entry.tenant_id and vault.tenant_id) and entry.tenant_id != vault.tenant_id


def _gives(entry: AccessPolicy, need: Need) -> bool:
    words = entry.keys if need.permission.on == "keys" else entry.secrets
    # `all` includes every other word that is needed here (azure-facts 4.2)
    return need.name.partition("/")[2].lower() in words or "all" in words


def groups_needed(vault: KeyVault, principal_id: str, needs: tuple[Need, ...]) -> bool:
    """Whether memberships could matter: entries of others would grant what the principal's own entries do not."""
    own = [e for e in vault.access_policies if e.object_id == principal_id and _counts(vault, e)]
    others = [e for e in vault.access_policies if e.object_id != principal_id and _counts(vault, e)]
    lacking = [need for need in needs if not any(_gives(entry, need) for entry in own)]
    return any(_gives(entry, need) for need in lacking for entry in others)


def weigh(vault: KeyVault, principal_id: str, groups: Read[frozenset[str]] | None, needs: tuple[Need, ...]) -> Weighed:
    """Weigh every entry of the vault's access policies for the principal.

    `groups` are the principal's transitive memberships, None where nobody asked for them.
    """
    members = groups if isinstance(groups, frozenset) else frozenset[str]()
    steps: list[ProofStep] = []
    granted: set[Need] = set()
    reached = compound = False
    for entry in vault.access_policies:
        direct = entry.object_id == principal_id
        if not direct and entry.object_id not in members:
            continue
        through = "the principal" if direct else f"its group `{entry.object_id}`"
        if _of_another_tenant(vault, entry):
            reason = f"names tenant `{entry.tenant_id}`, the vault belongs to `{vault.tenant_id}`"
            steps.append(_step(vault, entry, Effect.NOTHING, reason))
            continue
        if entry.application_id is not None:
            compound = True
            reason = f"names {through} only together with application `{entry.application_id}` (compound entry)"
            steps.append(_step(vault, entry, Effect.NOTHING, reason))
            continue
        reached = True
        given = [need for need in needs if _gives(entry, need)]
        granted.update(given)
        lacking = sorted({need.name for need in needs} - {need.name for need in given})
        effect = Effect.GRANTS if not lacking else Effect.PARTLY if given else Effect.NOTHING
        reason = f"names {through}" + (f"; does not give {', '.join(lacking)}" if lacking else "; gives all that is needed")
        steps.append(_step(vault, entry, effect, reason, tuple(sorted({need.name for need in given}))))
    return Weighed(
        granted=frozenset(granted),
        doubts=_doubts(vault, principal_id, groups, needs, granted),
        reached=reached,
        compound_only=compound and not reached,
        steps=tuple(steps),
    )


def _doubts(
    vault: KeyVault, principal_id: str, groups: Read[frozenset[str]] | None, needs: tuple[Need, ...], granted: set[Need]
) -> tuple[Doubt, ...]:
    if isinstance(groups, frozenset):
        return ()
    why = groups if isinstance(groups, Unread) else GROUPS_NOT_READ
    # An unread membership leaves a need open only where some other entry would give it.
    others = [e for e in vault.access_policies if e.object_id != principal_id and _counts(vault, e)]
    return tuple(
        Doubt(need=need, unread=why) for need in needs if need not in granted and any(_gives(entry, need) for entry in others)
    )


def _step(vault: KeyVault, entry: AccessPolicy, effect: Effect, reason: str, permissions: tuple[str, ...] = ()) -> ProofStep:
    suffix = f"/{entry.application_id}" if entry.application_id else ""
    return ProofStep(
        kind="access-policy",
        id=f"accessPolicies/{entry.object_id}{suffix}",
        scope=str(vault.id),
        effect=effect,
        reason=reason,
        permissions=permissions,
        grantee=entry.object_id,
    )
