"""The oracle's second half: what a principal is granted and denied, permission by permission, in the three models.

The requirements are typed from the catalogue's table, not taken from the product; a wildcard is a regular expression.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from functools import cache

from keydrift.facts import (
    Absent,
    DenyAssignment,
    KeyVault,
    ManagedHsm,
    PermissionBlock,
    Read,
    RoleAssignment,
    RoleDefinition,
    ScheduleInstance,
    StoreFacts,
)
from keydrift.key_uri import KeyUri
from keydrift.model import KeyBinding, Scenario
from keydrift.resource_id import ResourceId

_EVERYONE = "00000000-0000-0000-0000-000000000000"

_KEYS, _SECRETS, _LOCAL = (
    "Microsoft.KeyVault/vaults/keys/",
    "Microsoft.KeyVault/vaults/secrets/",
    "Microsoft.KeyVault/managedHsm/keys/",
)
_ROLE_SECRETS = (_SECRETS + "getSecret/action", _SECRETS + "readMetadata/action", _SECRETS + "backup/action")
_ROLE_BACKUP = (_KEYS + "read", _KEYS + "backup/action")
_ROLE_WRAP = (_KEYS + "read", _KEYS + "wrap/action", _KEYS + "unwrap/action")
_LOCAL_BACKUP = (_LOCAL + "read/action", _LOCAL + "backup/action")
_LOCAL_WRAP = (_LOCAL + "read/action", _LOCAL + "wrap/action", _LOCAL + "unwrap/action")
_WORD_BACKUP = ("keys/get", "keys/list", "keys/backup")
_WORD_WRAP = ("keys/get", "keys/wrapKey", "keys/unwrapKey")

# Scenario: access policy words, advisory words, Azure RBAC data actions, Managed HSM data actions (None: not supported there)
NEEDS: dict[Scenario, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], tuple[str, ...] | None]] = {
    Scenario.ADE_BEK: (("secrets/get", "secrets/list", "secrets/backup"), (), _ROLE_SECRETS, None),
    Scenario.ADE_KEK: (
        (*_WORD_BACKUP, "secrets/get", "secrets/list"),
        ("secrets/backup",),
        (*_ROLE_BACKUP, *_ROLE_SECRETS),
        None,
    ),
    Scenario.CVM_CMK: (_WORD_BACKUP, (), _ROLE_BACKUP, _LOCAL_BACKUP),
    Scenario.CVM_DES: (_WORD_WRAP, (), _ROLE_WRAP, _LOCAL_WRAP),
    Scenario.BACKUP_VAULT_CMK: (_WORD_WRAP, ("keys/list",), _ROLE_WRAP, _LOCAL_WRAP),
    Scenario.RSV_CMK: (_WORD_WRAP, ("keys/list",), _ROLE_WRAP, None),
}


# A permission on one key or secret, by its name; on none for an access policy, which holds for the whole vault
type _Need = tuple[str, str]


class _Has(IntEnum):
    """Whether a permission is there; of several grants the highest answer counts."""

    NO = 0
    UNDER_CONDITION = 1
    UNREAD = 2
    YES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """The principal, as far as it is known; `groups` is None where its memberships could not be read."""

    object_id: str
    groups: frozenset[str] | None

    def is_(self, ids: Iterable[str]) -> _Has:
        """Whether one of these object ids is the principal or one of its groups."""
        wanted = set(ids)
        if self.object_id in wanted:
            return _Has.YES
        if self.groups is None:
            return _Has.UNREAD if wanted else _Has.NO
        return _Has.YES if self.groups & wanted else _Has.NO


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grant:
    """What the grants of one model give: an answer for each permission, the code for what they lack, and what ends soon."""

    has: dict[_Need, _Has]
    code: str
    ending: frozenset[_Need] = frozenset()


def judge_grants(binding: KeyBinding, host: str, facts: StoreFacts, who: Who, soon: datetime) -> tuple[set[str], set[str]]:
    """The finding codes and the missing permissions of one key store that was read, for a known principal."""
    words, advisory, actions, local = NEEDS[binding.scenario]
    targets = [each.uri for each in binding.objects if each.uri.host == host]
    store = facts.store
    if isinstance(store, ManagedHsm):
        return _settle(_by_local_role(targets, facts, local or (), who), (), {})
    assert isinstance(store, KeyVault)
    kinds = {target.kind for target in targets}
    words = tuple(word for word in words if word.split("/")[0] in kinds)
    advisory = tuple(word for word in advisory if word.split("/")[0] in kinds)
    by_policy = _by_access_policy(store, (*words, *advisory), who)
    by_role = _by_role(store, targets, facts, actions, who, soon)
    if not store.rbac:
        switched = all(has is _Has.YES for has in by_role.has.values())
        return _settle(by_policy, advisory, {}, switched=switched)
    switched = all(by_policy.has[word, ""] is _Has.YES for word in words)
    return _settle(by_role, (), _denied(store, targets, facts, tuple(by_role.has), who), switched=switched)


def _settle(
    grant: _Grant, advisory: tuple[str, ...], denied: dict[_Need, _Has], *, switched: bool = False
) -> tuple[set[str], set[str]]:
    """The codes and the missing permissions of one key store."""
    lacking = {need for need, has in grant.has.items() if has is _Has.NO}
    blocked = {need for need, has in denied.items() if has is _Has.YES}
    required = {need for need in lacking if need[0] not in advisory}
    missing = {name for name, _ in lacking | blocked}
    if required and switched:
        # The model comes before its denies: these mean nothing once it is switched back
        return {"permission-model-switched"}, missing
    codes: set[str] = {"deny-assignment"} if blocked else set()
    if required - blocked:
        codes.add(grant.code)
    if codes:
        return codes, missing
    if grant.ending:
        codes.add("grant-expiring")
    for need, has in grant.has.items():
        if need[0] in advisory:
            continue
        if has is _Has.UNREAD or denied.get(need) is _Has.UNREAD:
            codes.add("facts-unreadable")
        if has is _Has.UNDER_CONDITION:
            codes.add("role-assignment-conditional")
    if lacking:
        codes.add("advisory-permission-missing")
    return codes, missing


def _by_access_policy(vault: KeyVault, words: tuple[str, ...], who: Who) -> _Grant:
    plain = compound = False
    has: dict[_Need, _Has] = {(word, ""): _Has.NO for word in words}
    for entry in vault.access_policies:
        if entry.tenant_id and entry.tenant_id != vault.tenant_id:
            continue
        match = who.is_([entry.object_id])
        if entry.application_id is not None:
            compound = compound or match is _Has.YES
            continue
        plain = plain or match is _Has.YES
        for word in words:
            kind, name = word.lower().split("/")
            given = entry.keys if kind == "keys" else entry.secrets
            if name in given or "all" in given:
                has[word, ""] = max(has[word, ""], match)
    if plain:
        return _Grant(has=has, code="access-policy-insufficient")
    return _Grant(has=has, code="access-policy-compound-only" if compound else "access-policy-absent")


def _by_role(
    vault: KeyVault, targets: list[KeyUri], facts: StoreFacts, actions: tuple[str, ...], who: Who, soon: datetime
) -> _Grant:
    listed = facts.assignments.get(who.object_id)
    reached = False
    has: dict[_Need, _Has] = {}
    ending: set[_Need] = set()
    for target in targets:
        scope = _scope(vault, target)
        for action in actions:
            if not action.startswith(_prefix(target)):
                continue
            best = _Has.NO if isinstance(listed, tuple) else _Has.UNREAD
            stays = False
            for assignment in listed if isinstance(listed, tuple) else ():
                if not _covers(assignment.scope, scope):
                    continue
                reached = True
                definition = facts.definitions.get(assignment.role_definition_id)
                given = _Has.NO if isinstance(definition, Absent) else _Has.UNREAD
                if isinstance(definition, RoleDefinition):
                    given = _from_role(definition, action, assignment.condition)
                best = max(best, given)
                stays = stays or (
                    given is not _Has.NO and not _ends(assignment, facts.schedule_instances.get(who.object_id), soon)
                )
            has[action, target.name] = best
            if best is _Has.YES and not stays:
                ending.add((action, target.name))
    return _Grant(has=has, code="role-insufficient" if reached else "role-assignment-absent", ending=frozenset(ending))


def _ends(assignment: RoleAssignment, instances: Read[tuple[ScheduleInstance, ...]] | None, soon: datetime) -> bool:
    """Whether an assignment certainly ends by then: it has instances, and none of them lasts longer."""
    mine = []
    for instance in instances if isinstance(instances, tuple) else ():
        same = (instance.scope, instance.role_definition_id, instance.principal_id) == (
            assignment.scope,
            assignment.role_definition_id,
            assignment.principal_id,
        )
        if instance.origin == assignment.id or (instance.origin is None and same):
            mine.append(instance)
    return bool(mine) and all(each.ends_at is not None and each.ends_at <= soon for each in mine)


def _from_role(definition: RoleDefinition, action: str, condition: str | None) -> _Has:
    best = _Has.NO
    for block in definition.permissions:
        if _gives(block, action):
            # Conditions cannot restrict keys, so a condition leaves a key action as it is (azure-facts 4.1)
            unsure = action.startswith(_SECRETS) and (condition or block.condition)
            best = max(best, _Has.UNDER_CONDITION if unsure else _Has.YES)
    return best


def _by_local_role(targets: list[KeyUri], facts: StoreFacts, actions: tuple[str, ...], who: Who) -> _Grant:
    reached = False
    has: dict[_Need, _Has] = {}
    definitions = facts.hsm_definitions
    for target in targets:
        for action in actions:
            best = _Has.NO
            for scope in ("/", f"/keys/{target.name}"):
                listed = facts.hsm_assignments.get(scope)
                if not isinstance(listed, tuple):
                    best = max(best, _Has.UNREAD)
                    continue
                for assignment in listed:
                    match = who.is_([assignment.principal_id])
                    if match is _Has.NO or assignment.scope not in ("/", "/keys", f"/keys/{target.name}"):
                        continue
                    reached = reached or match is _Has.YES
                    if not isinstance(definitions, tuple):
                        best = max(best, _Has.UNREAD)
                        continue
                    for definition in definitions:
                        if definition.id == assignment.role_definition_id:
                            gives = any(_gives(block, action) for block in definition.permissions)
                            best = max(best, match if gives else _Has.NO)
            has[action, target.name] = best
    return _Grant(has=has, code="hsm-role-insufficient" if reached else "hsm-role-assignment-absent")


def _denied(vault: KeyVault, targets: list[KeyUri], facts: StoreFacts, needs: Iterable[_Need], who: Who) -> dict[_Need, _Has]:
    if not isinstance(facts.denies, tuple):
        return dict.fromkeys(needs, _Has.UNREAD)
    denied = dict.fromkeys(needs, _Has.NO)
    for target in targets:
        for deny in facts.denies:
            for action, name in denied:
                if name == target.name and action.startswith(_prefix(target)) and _stands_over(deny, _scope(vault, target)):
                    denied[action, name] = max(denied[action, name], _denies(deny, action, who))
    return denied


def _denies(deny: DenyAssignment, action: str, who: Who) -> _Has:
    blocks = [block for block in deny.permissions if _gives(block, action)]
    if not blocks:
        return _Has.NO
    named = _Has.YES if _EVERYONE in deny.principals else _among(deny.principals, deny.group_principals, who)
    spared = _Has.YES if _EVERYONE in deny.excluded else _among(deny.excluded, deny.excluded_groups, who)
    if named is _Has.NO or spared is _Has.YES:
        return _Has.NO
    certain = deny.condition is None and any(block.condition is None for block in blocks)
    return _Has.YES if certain and named is _Has.YES and spared is _Has.NO else _Has.UNREAD


def _among(principals: frozenset[str], groups: frozenset[str], who: Who) -> _Has:
    """Whether the principal is one of these by itself, or by a group that is one of those."""
    if who.object_id in principals:
        return _Has.YES
    if who.groups is None:
        return _Has.UNREAD if groups else _Has.NO
    return _Has.YES if who.groups & groups else _Has.NO


def _stands_over(deny: DenyAssignment, target: ResourceId) -> bool:
    return _covers(deny.scope, target) and (deny.applies_to_children or deny.scope.segments == target.segments)


def _covers(scope: ResourceId, target: ResourceId) -> bool:
    """Whether a scope is the target or an ancestor; Azure lists a management group only where it is an ancestor (ADR 0002)."""
    if scope.segments[:2] == ("providers", "microsoft.management"):
        return True
    if len(scope.segments) > len(target.segments):
        return False
    return all(mine == theirs for mine, theirs in zip(scope.segments, target.segments, strict=False))


def _scope(vault: KeyVault, target: KeyUri) -> ResourceId:
    return ResourceId.parse(f"{vault.id}/{target.kind}/{target.name}")


def _prefix(target: KeyUri) -> str:
    return _KEYS if target.kind == "keys" else _SECRETS


def _gives(block: PermissionBlock, action: str) -> bool:
    taken = any(_pattern(text).fullmatch(action) for text in block.not_data_actions)
    return not taken and any(_pattern(text).fullmatch(action) for text in block.data_actions)


@cache
def _pattern(text: str) -> re.Pattern[str]:
    """A `*` stands for any run of characters, slashes included; case does not matter (azure-facts 4.1)."""
    return re.compile("".join(".*" if c == "*" else re.escape(c) for c in text), re.IGNORECASE | re.DOTALL)
