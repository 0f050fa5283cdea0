"""By when a change bites: Azure's reads show it at once, what already runs on cached permissions notices later. Pure.

The classes are those of azure-facts 4.1 (learn.microsoft.com/azure/role-based-access-control/troubleshooting). For management
groups it says "several hours" and gives no number: the longest authorisation cache that Microsoft documents, 24 hours, stands
in for it. Access policies, key state, the network and a Managed HSM's local roles have no documented lag and count as at
once.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from datetime import timedelta

from keydrift.access.verdict import granting
from keydrift.alerts.cause import grant_id, is_through_group
from keydrift.facts import KeyVault
from keydrift.model import Effect, ProofStep, Verdict

AT_ONCE = timedelta()
ROLE_ASSIGNMENT = timedelta(minutes=10)
MANAGEMENT_GROUP = timedelta(hours=24)
GROUP_MEMBERSHIP = timedelta(hours=24)

_OF_ROLES = frozenset({"role-assignment-absent", "role-insufficient", "role-assignment-conditional", "deny-assignment"})
_OF_GRANTS = _OF_ROLES | {
    "access-policy-absent",
    "access-policy-insufficient",
    "access-policy-compound-only",
    "permission-model-switched",
    "hsm-role-assignment-absent",
    "hsm-role-insufficient",
    "advisory-permission-missing",
}
_AT_MANAGEMENT_GROUP = "/providers/microsoft.management/managementgroups/"


def lag_of_loss(verdict: Verdict, granted_by: AbstractSet[str], through_groups: AbstractSet[str]) -> timedelta:
    """How long the key may stay usable after the change: until the last of the grants that counted before has worn off.

    `granted_by` are the ids of the grants that counted before, `through_groups` those of them that name a group.
    """
    if not verdict.codes & _OF_GRANTS:
        return AT_ONCE
    whole = {grant_id(step, verdict) for step in granting(verdict) if step.effect is Effect.GRANTS}
    fallen = {each for each in granted_by if each not in whole}
    denied = [step for step in verdict.proof if step.effect is Effect.DENIES]
    lags = [AT_ONCE]
    if verdict.codes & _OF_ROLES:
        lags.append(ROLE_ASSIGNMENT)
        if any(each.startswith(_AT_MANAGEMENT_GROUP) for each in (*fallen, *((step.scope or "").lower() for step in denied))):
            lags.append(MANAGEMENT_GROUP)
    if (fallen & through_groups) - _removed_policies(verdict, fallen):
        lags.append(GROUP_MEMBERSHIP)
    return max(lags)


def lag_of_repair(ended: AbstractSet[str], verdict: Verdict, granted_by: AbstractSet[str]) -> timedelta:
    """How long the key may stay unusable after the repair: until the first of the new grants that suffices has spread.

    `ended` are the finding codes of the drift that is over, `granted_by` the ids of the grants that counted meanwhile.
    """
    if not ended & _OF_GRANTS:
        return AT_ONCE
    counting = granting(verdict)
    new = [step for step in counting if grant_id(step, verdict) not in granted_by]
    if not new and "deny-assignment" in ended:
        return ROLE_ASSIGNMENT  # the grants stood all along
    steps = new or counting
    whole = [_lag_of(step, verdict) for step in steps if step.effect is Effect.GRANTS]
    return min(whole) if whole else max((_lag_of(step, verdict) for step in steps), default=AT_ONCE)


def _lag_of(step: ProofStep, verdict: Verdict) -> timedelta:
    if is_through_group(step, verdict):
        return GROUP_MEMBERSHIP
    if step.kind != "role-assignment":
        return AT_ONCE
    return MANAGEMENT_GROUP if step.id.lower().startswith(_AT_MANAGEMENT_GROUP) else ROLE_ASSIGNMENT


def _removed_policies(verdict: Verdict, fallen: AbstractSet[str]) -> frozenset[str]:
    """The access policies among the fallen grants that the vault no longer has: they were removed, whoever is in the group."""
    store = verdict.key_store
    if not isinstance(store, KeyVault):
        return frozenset()
    left = {f"{store.id}|accesspolicies/{each.object_id}".lower() for each in store.access_policies}
    return frozenset(each for each in fallen if "|accesspolicies/" in each and each not in left)
