"""Which principal uses the key, and whether it still exists: `identity-*` and `principal-*` findings (azure-facts 1.3, 4.1)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from keydrift.access import remedies
from keydrift.access.finding import finding, unreadable
from keydrift.facts import Absent, Facts, Principal, Unread
from keydrift.model import AppIdentity, Finding, KeyBinding, ResourceIdentity


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityOutcome:
    """The principal as far as known, what is wrong with it, and what could not be read."""

    principal: Principal | None
    findings: tuple[Finding, ...] = ()
    unread: tuple[Unread, ...] = ()


def judge_identity(binding: KeyBinding, facts: Facts) -> IdentityOutcome:
    """Resolve the binding's principal from the facts."""
    match binding.identity:
        case AppIdentity(app_id=app_id):
            return _app(binding, app_id, facts)
        case ResourceIdentity() as identity if identity.user_assigned is None:
            return _system_assigned(binding, identity)
        case ResourceIdentity() as identity:
            return _user_assigned(binding, identity, facts)


def _app(binding: KeyBinding, app_id: str, facts: Facts) -> IdentityOutcome:
    match facts.principals.get(app_id.lower()):
        case Principal() as principal if principal.enabled:
            return IdentityOutcome(principal=principal)
        case Principal() as principal:
            found = finding(
                "principal-disabled",
                binding,
                f"the service principal of application `{app_id}` is disabled, so it gets no tokens",
                {"objectId": principal.object_id, "appId": app_id, "accountEnabled": False},
                f"az ad sp update --id {principal.object_id} --set accountEnabled=true",
            )
            return IdentityOutcome(principal=principal, findings=(found,))
        case Absent():
            found = finding(
                "principal-not-found",
                binding,
                f"application `{app_id}` has no service principal in this directory",
                {"appId": app_id},
                f"az ad sp create --id {app_id}",
            )
            return IdentityOutcome(principal=None, findings=(found,))
        case Unread() as unread:
            return IdentityOutcome(principal=_last_known(app_id, facts), findings=(unreadable(unread),), unread=(unread,))
        case None:
            repair = "Microsoft Graph Application.Read.All"
            missing = Unread(source=f"service principal {app_id}", status=None, code="NotRead", repair=repair)
            return IdentityOutcome(principal=_last_known(app_id, facts), findings=(unreadable(missing),), unread=(missing,))


def _last_known(app_id: str, facts: Facts) -> Principal | None:
    # The directory does not answer, but the grants are to the object id seen last: losing them is a loss all the same.
    object_id = facts.last_known.get(app_id.lower())
    return Principal(object_id=object_id, app_id=app_id) if object_id else None


def _system_assigned(binding: KeyBinding, identity: ResourceIdentity) -> IdentityOutcome:
    name = identity.resource_id.name
    if identity.system_object_id:
        principal = Principal(object_id=identity.system_object_id, name=name, tenant_id=identity.tenant_id)
        return IdentityOutcome(principal=principal)
    found = finding(
        "identity-none",
        binding,
        f"`{name}` is to use its system-assigned identity and has none",
        {"resourceId": str(identity.resource_id)},
        f"{remedies.patch_identity(identity)}  # then grant the key to its new object id",
    )
    return IdentityOutcome(principal=None, findings=(found,))


def _user_assigned(binding: KeyBinding, identity: ResourceIdentity, facts: Facts) -> IdentityOutcome:
    assert identity.user_assigned is not None
    chosen = identity.user_assigned
    evidence = {"resourceId": str(identity.resource_id), "identityId": str(chosen)}
    read = facts.principals.get(chosen.key)
    if isinstance(read, Absent):
        found = finding(
            "identity-deleted",
            binding,
            f"the user-assigned identity `{chosen.name}` that the encryption settings name does not exist",
            evidence,
            remedies.command("az", "identity", "create", "--name", chosen.name, "--resource-group", chosen.resource_group or "")
            + "  # then attach it, select it and grant it the key: its object id is new",
        )
        return IdentityOutcome(principal=None, findings=(found,))
    shown = identity.attached.get(chosen.key)
    principal = read if isinstance(read, Principal) else Principal(object_id=shown, name=chosen.name) if shown else None
    if principal is not None and principal.tenant_id is None:
        principal = replace(principal, tenant_id=identity.tenant_id)
    if chosen.key not in identity.attached:
        found = finding(
            "identity-detached",
            binding,
            f"the encryption settings name the identity `{chosen.name}`, which is not attached to `{identity.resource_id.name}`",
            evidence,
            remedies.patch_identity(identity),
        )
        return IdentityOutcome(principal=principal, findings=(found,))
    if isinstance(read, Principal):
        return IdentityOutcome(principal=principal)
    unread = read or Unread(
        source=f"user-assigned identity {chosen}",
        status=None,
        code="NotRead",
        repair="Microsoft.ManagedIdentity/userAssignedIdentities/read",
    )
    return IdentityOutcome(principal=principal, findings=(unreadable(unread),), unread=(unread,))
