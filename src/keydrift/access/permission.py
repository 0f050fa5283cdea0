"""The permission part of a verdict for one key store: the model in force, denies, grants, and what is missing.

INVARIANT (a loss stands): a missing grant is lost only when every place a grant could stand was read; where one was not, the need
is in doubt and the finding is `facts-unreadable`. One readable grant satisfies a need however many other reads failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from keydrift.access import access_policy, blind_spots, managed_hsm, rbac, remedies
from keydrift.access.finding import finding, unreadable
from keydrift.access.grant_expiry import judge_expiry
from keydrift.access.key_state import Horizon
from keydrift.access.weighing import Doubt, Need, Weighed
from keydrift.facts import Facts, KeyStore, KeyVault, ManagedHsm, Principal, StoreFacts, Unread
from keydrift.model import BlindSpot, Finding, KeyBinding, PermissionModel, ProofStep, StoreObject
from keydrift.requirement import Requirement, requirement_for
from keydrift.resource_id import ResourceId


@dataclass(frozen=True, slots=True, kw_only=True)
class PermissionOutcome:
    """Findings, missing permissions (required ones and advisory ones), proof and blind spots for one key store."""

    findings: tuple[Finding, ...] = ()
    blind_spots: tuple[BlindSpot, ...] = ()
    missing: tuple[str, ...] = ()
    steps: tuple[ProofStep, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """What every judgement below needs to know."""

    binding: KeyBinding
    store: KeyStore
    facts: StoreFacts
    requirement: Requirement
    principal: Principal
    needs: tuple[Need, ...]
    weighed: Weighed
    lacking: tuple[Need, ...]

    @property
    def who(self) -> str:
        return self.principal.name or self.principal.object_id


def model_of(store: KeyStore) -> PermissionModel:
    """The model in force: with `enableRbacAuthorization` policies are ignored, without it data roles are (azure-facts 4.2)."""
    if isinstance(store, ManagedHsm):
        return PermissionModel.MANAGED_HSM
    return PermissionModel.RBAC if store.rbac else PermissionModel.ACCESS_POLICY


def needs_at(binding: KeyBinding, host: str, model: PermissionModel, store_id: ResourceId) -> tuple[Need, ...]:
    """What the binding needs in one key store: key permissions on the key, secret permissions on each secret.

    The objects stand in the store that was read, whatever the consumer knows of it: a binding may not name its key store at all.
    """
    requirement = requirement_for(binding.scenario, model)
    if requirement is None:
        return ()
    needs: list[Need] = []
    for target in binding.objects:
        if target.uri.host == host:
            placed = StoreObject(uri=target.uri, store_id=store_id)
            resource = rbac.object_id(placed) if model is PermissionModel.RBAC else None
            needs += [
                Need(permission=permission, target=placed, resource=resource)
                for permission in requirement.permissions
                if permission.on == target.uri.kind
            ]
    return tuple(needs)


def groups_needed(binding: KeyBinding, host: str, facts: StoreFacts, principal_id: str) -> bool:
    """Whether the principal's memberships could change the outcome, so that they are worth a read."""
    match facts.store:
        case KeyVault() as vault if vault.rbac:
            return rbac.groups_needed(facts, principal_id, needs_at(binding, host, PermissionModel.RBAC, vault.id))
        case KeyVault() as vault:
            needs = needs_at(binding, host, PermissionModel.ACCESS_POLICY, vault.id)
            return access_policy.groups_needed(vault, principal_id, needs)
        case ManagedHsm() as hsm:
            return managed_hsm.groups_needed(facts, principal_id, needs_at(binding, host, PermissionModel.MANAGED_HSM, hsm.id))
        case _:
            return False


def judge_support(binding: KeyBinding, store: KeyStore) -> tuple[Finding, ...]:
    """`hsm-unsupported`, whatever becomes of the identity: it is the key store's, not a grant's."""
    supported = requirement_for(binding.scenario, model_of(store)) is not None
    return () if supported else (_unsupported(binding, store),)


def judge_permissions(
    binding: KeyBinding, host: str, facts: StoreFacts, everything: Facts, principal: Principal | None, horizon: Horizon
) -> PermissionOutcome:
    """Judge one key store's part of a binding; the store was read and the principal's object id is known."""
    assert isinstance(facts.store, KeyVault | ManagedHsm)
    assert principal is not None
    model = model_of(facts.store)
    requirement = requirement_for(binding.scenario, model)
    if requirement is None:
        return PermissionOutcome()
    needs = needs_at(binding, host, model, facts.store.id)
    weighed = _weigh(model, facts, principal, everything, needs)
    lacking = weighed.lacking(needs)
    if model is not PermissionModel.RBAC and not (lacking or weighed.doubts or weighed.denied):
        return PermissionOutcome(steps=weighed.steps)  # the usual case: all is granted, and such a grant has no end
    case = _Case(
        binding=binding,
        store=facts.store,
        facts=facts,
        requirement=requirement,
        principal=principal,
        needs=needs,
        weighed=weighed,
        lacking=lacking,
    )
    switched, undecided = _switched(case, everything)
    findings = [switched] if switched else [*_denied(case), *_ungranted(case), *_doubtful(case), *_expiring(case, horizon)]
    missing = {need.name for need in (*lacking, *weighed.denied)}
    listed = facts.schedule_instances.get(principal.object_id)
    return PermissionOutcome(
        findings=tuple(findings),
        blind_spots=tuple(blind_spots.of_grants(model, weighed, undecided, listed)),
        missing=tuple(dict.fromkeys(need.name for need in needs if need.name in missing)) if missing else (),
        steps=weighed.steps,
    )


def _weigh(
    model: PermissionModel, facts: StoreFacts, principal: Principal, everything: Facts, needs: tuple[Need, ...]
) -> Weighed:
    object_id = principal.object_id
    groups = everything.groups.get(object_id)
    match model:
        case PermissionModel.ACCESS_POLICY:
            assert isinstance(facts.store, KeyVault)
            return access_policy.weigh(facts.store, object_id, groups, needs)
        case PermissionModel.RBAC:
            return rbac.weigh(facts, object_id, groups, needs)
        case PermissionModel.MANAGED_HSM:
            return managed_hsm.weigh(facts, object_id, groups, needs)


def _unsupported(binding: KeyBinding, store: KeyStore) -> Finding:
    return finding(
        "hsm-unsupported",
        binding,
        f"{binding.scenario} is not supported with a key in Managed HSM `{store.id.name}`",
        {"id": str(store.id)},
        "use a key in a key vault of the same region",
    )


def _denied(case: _Case) -> list[Finding]:
    if not case.weighed.denied:
        return []
    steps = [step for step in case.weighed.steps if step.effect == "denies"]
    names = sorted({name for step in steps for name in step.permissions})
    found = finding(
        "deny-assignment",
        case.binding,
        f"deny assignment `{steps[0].role}` takes {', '.join(names)} from `{case.who}`",
        {"denyAssignments": tuple(step.id for step in steps), "denied": tuple(names)},
        remedies.command("az", "rest", "--method", "delete", "--url", f"{steps[0].id}?api-version=2024-07-01-preview")
        + "  # or exclude the principal; a deployment stack's denies are changed in the stack",
    )
    return [found]


def _switched(case: _Case, everything: Facts) -> tuple[Finding | None, Unread | None]:
    """The finding that the model was switched, or the read that leaves it open. The model comes before its denies, which mean
    nothing once it is switched back."""
    lacking = [need for need in case.lacking if not need.permission.advisory]
    other = _other_model(case, everything) if lacking else None
    if other is None:
        return None, None
    if not other.doubts:
        return _lost(case, lacking, everything), None
    # Memberships that only the other model would need are not asked for: no read has failed there
    return None, next((doubt.unread for doubt in other.doubts if doubt.unread is not access_policy.GROUPS_NOT_READ), None)


def _ungranted(case: _Case) -> list[Finding]:
    # A need that is denied is explained by the deny, most specific first
    lacking = [need for need in case.lacking if need not in case.weighed.denied]
    required = [need for need in lacking if not need.permission.advisory]
    if required:
        return [_lost(case, required)]
    if lacking:
        words = [need.name for need in lacking]
        found = finding(
            "advisory-permission-missing",
            case.binding,
            f"`{case.who}` lacks {', '.join(words)}, which some of Azure's documents ask for",
            {"missing": tuple(words)},
            _grant(case),
        )
        return [found]
    return []


def _lost(case: _Case, required: list[Need], switched: Facts | None = None) -> Finding:
    names = tuple(dict.fromkeys(need.name for need in required))
    evidence: dict[str, str | tuple[str, ...]] = {
        "principalId": case.principal.object_id,
        "missing": names,
        "keyStoreId": str(case.store.id),
    }
    code, summary = _cause(case, switched is not None, names)
    if code in ("role-insufficient", "hsm-role-insufficient"):
        evidence["roles"] = tuple(dict.fromkeys(step.role or "" for step in case.weighed.steps if step.role))
    return finding(code, case.binding, summary, evidence, _grant(case, switched=code == "permission-model-switched"))


def _cause(case: _Case, switched: bool, names: tuple[str, ...]) -> tuple[str, str]:
    who, store = case.who, case.store.id.name
    missing = ", ".join(names)
    model = model_of(case.store)
    if switched:
        kept, now = (
            ("access policies", "Azure RBAC") if model is PermissionModel.RBAC else ("role assignments", "access policies")
        )
        summary = f"`{store}` now decides by {now}; the {kept} that are still there would give `{who}` all that it needs"
        return "permission-model-switched", summary
    reached = case.weighed.reached
    match model:
        case PermissionModel.ACCESS_POLICY if case.weighed.compound_only:
            return (
                "access-policy-compound-only",
                f"the only access policies of `{store}` that name `{who}` are compound (they carry an application id)",
            )
        case PermissionModel.ACCESS_POLICY if reached:
            return "access-policy-insufficient", f"the access policy of `{who}` on `{store}` lacks {missing}"
        case PermissionModel.ACCESS_POLICY:
            return "access-policy-absent", f"no access policy of `{store}` names `{who}`"
        case PermissionModel.RBAC if reached:
            return "role-insufficient", f"the roles assigned to `{who}` at or above the key lack {missing}: {_why(case)}"
        case PermissionModel.RBAC:
            return "role-assignment-absent", f"no role assignment at or above the key in `{store}` reaches `{who}`"
        case PermissionModel.MANAGED_HSM if reached:
            return "hsm-role-insufficient", f"the local roles of `{who}` in `{store}` lack {missing}: {_why(case)}"
        case PermissionModel.MANAGED_HSM:
            return "hsm-role-assignment-absent", f"no local role assignment in `{store}` reaches `{who}`"


def _why(case: _Case) -> str:
    """The real cause, role by role."""
    reasons = [f"`{step.role}`: {step.reason}" for step in case.weighed.steps if step.effect in ("grants-nothing", "grants-some")]
    return "; ".join(dict.fromkeys(reasons)) or "no role gives them"


def _other_model(case: _Case, everything: Facts) -> Weighed | None:
    """The weighing of the model that is not in force, where it would satisfy every requirement, or might; else None."""
    vault = case.store
    if not isinstance(vault, KeyVault):
        return None
    other = PermissionModel.ACCESS_POLICY if vault.rbac else PermissionModel.RBAC
    host = case.needs[0].target.uri.host
    needs = tuple(n for n in needs_at(case.binding, host, other, vault.id) if not n.permission.advisory)
    groups = everything.groups.get(case.principal.object_id)
    if vault.rbac:
        weighed = access_policy.weigh(vault, case.principal.object_id, groups, needs)
    else:
        weighed = rbac.weigh(case.facts, case.principal.object_id, groups, needs, denies=False)
    return weighed if needs and not weighed.lacking(needs) and not any(d.conditional for d in weighed.doubts) else None


def _doubtful(case: _Case) -> list[Finding]:
    """What is unknown: a need whose grant or deny hangs on something unread. Advisory needs do not make a verdict unknown."""
    found: dict[str, Finding] = {}
    for doubt in (*case.weighed.doubts, *case.weighed.deny_doubts):
        if doubt.need.permission.advisory or doubt.need in case.weighed.denied:
            continue
        is_grant = doubt in case.weighed.doubts
        made = _conditional(case, doubt) if doubt.conditional and is_grant else unreadable(doubt.unread)
        found.setdefault(made.code + made.summary, made)
    return list(found.values())


def _expiring(case: _Case, horizon: Horizon) -> list[Finding]:
    """The end of the last sufficient grant: there is none where something required is lacking or denied already."""
    if model_of(case.store) is not PermissionModel.RBAC:
        return []
    if any(not need.permission.advisory for need in (*case.lacking, *case.weighed.denied)):
        return []
    needs = tuple(need for need in case.needs if not need.permission.advisory and need in case.weighed.granted)
    found = judge_expiry(case.binding, case.requirement, case.store.id, case.facts, case.principal, needs, horizon)
    return [found] if found else []


def _conditional(case: _Case, doubt: Doubt) -> Finding:
    evidence: Mapping[str, str | tuple[str, ...]] = {
        "source": doubt.unread.source,
        "permissions": tuple(dict.fromkeys(d.need.name for d in case.weighed.doubts if d.conditional)),
    }
    return finding(
        "role-assignment-conditional",
        case.binding,
        f"only a grant under a condition gives `{case.who}` what it needs: {doubt.unread.source}",
        evidence,
        _grant(case),
    )


def _grant(case: _Case, *, switched: bool = False) -> str:
    target = case.binding.target
    match model_of(case.store):
        case PermissionModel.ACCESS_POLICY:
            assert isinstance(case.store, KeyVault)
            line = remedies.set_policy(case.store, case.principal, case.needs)
        case PermissionModel.RBAC:
            line = remedies.assign_role(case.requirement, case.principal, case.store.id)
        case PermissionModel.MANAGED_HSM:
            line = remedies.assign_hsm_role(case.requirement, case.principal, target)
    if switched and isinstance(case.store, KeyVault):
        back = remedies.update_store(case.store, "--enable-rbac-authorization", "false" if case.store.rbac else "true")
        return f"{line}  # or switch the model back: {back}"
    return line
