"""Random grants and denies for random tenants: access policies, Azure roles, Managed HSM local roles, deny assignments."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from keydrift.facts import (
    AccessPolicy,
    DenyAssignment,
    HsmRoleAssignment,
    PermissionBlock,
    Read,
    RoleAssignment,
    RoleDefinition,
    ScheduleInstance,
)
from keydrift.resource_id import ResourceId
from support.builders import (
    APP_ID,
    APP_OBJECT,
    GROUP,
    MANAGEMENT_GROUP,
    NOW,
    OTHER_TEAM,
    OTHER_TENANT,
    STRANGER,
    SUB,
    TEAM,
    TENANT,
    VAULT,
    rid,
)
from support.random_dice import Dice

GRANT_AHEAD = timedelta(days=14)
FORMER = "aaaaaaaa-0000-0000-0000-000000000008"
VAULT_IDS = (rid(VAULT), rid(f"{GROUP}/providers/Microsoft.KeyVault/vaults/kv2"))
_EVERYONE = "00000000-0000-0000-0000-000000000000"
_ASSIGNMENTS = tuple(rid(f"{GROUP}/providers/Microsoft.Authorization/roleAssignments/{n}") for n in range(4))
_ENDS = (NOW, NOW + timedelta(days=1), NOW + GRANT_AHEAD, NOW + GRANT_AHEAD + timedelta(seconds=1), NOW + timedelta(days=90))
_ANY_DENY = rid(f"{GROUP}/providers/Microsoft.Authorization/denyAssignments/1")
_CONDITION = "@Resource[Microsoft.KeyVault/vaults/secrets:name] StringEquals 's1'"

_KEYS, _SECRETS, _LOCAL = (
    "Microsoft.KeyVault/vaults/keys/",
    "Microsoft.KeyVault/vaults/secrets/",
    "Microsoft.KeyVault/managedHsm/keys/",
)
VAULT_ACTIONS = (
    *(_KEYS + each for each in ("read", "backup/action", "wrap/action", "unwrap/action")),
    *(_SECRETS + each for each in ("getSecret/action", "readMetadata/action", "backup/action")),
)
LOCAL_ACTIONS = tuple(_LOCAL + each for each in ("read/action", "backup/action", "wrap/action", "unwrap/action"))
# Patterns beside the exact spellings: generous ones, near-misses, and what a file-name matcher would take for more than it is
VAULT_PATTERNS = (
    *(each.upper() for each in VAULT_ACTIONS),
    *("*", "Microsoft.KeyVault/*", "microsoft.keyvault/vaults/*", _KEYS + "*", _SECRETS + "*", "*/action", "*/read", "*backup*"),
    *(
        "Microsoft.KeyVault/vaults/*/action",
        "Microsoft.KeyVault/vaults/*/backup/action",
        "Microsoft.*/keys/*",
        _KEYS + "*wrap/action",
    ),
    *(
        _KEYS + "rea",
        _KEYS + "read/action",
        _KEYS + "?ead",
        _KEYS + "[r]ead",
        _KEYS + "read*d",
        "Microsoft.KeyVault/vaults/key/*",
        "",
    ),
    *(
        "MicrosoftXKeyVault/vaults/keys/read",
        _SECRETS + "getSecret",
        "Microsoft.KeyVault/managedHsm/*",
        _SECRETS + "*a*a*/action",
    ),
)
LOCAL_PATTERNS = (
    *(each.lower() for each in LOCAL_ACTIONS),
    *("*", "Microsoft.KeyVault/managedHsm/*", _LOCAL + "*", _LOCAL + "*wrap/action", "Microsoft.KeyVault/*/action"),
    *(_LOCAL + "read", "Microsoft.KeyVault/managedHsm/key/*", _KEYS + "*", _LOCAL + "[b]ackup/action"),
)
_KEY_WORDS = ("get", "list", "backup", "wrapkey", "unwrapkey", "sign", "all")
_SECRET_WORDS = ("get", "list", "backup", "set", "all")


def _covering(vault: ResourceId) -> tuple[ResourceId, ...]:
    above = (
        "/",
        MANAGEMENT_GROUP,
        MANAGEMENT_GROUP.lower(),
        SUB,
        SUB.upper(),
        GROUP,
        f"{GROUP}/",
        GROUP.lower(),
    )
    return tuple(map(rid, (*above, str(vault), str(vault), str(vault).upper(), f"{vault}/")))


def _below(vault: ResourceId) -> tuple[ResourceId, ...]:
    return tuple(rid(f"{vault}/{each}") for each in ("keys/k1", "keys/K1", "secrets/s1", "secrets/S1", "secrets/s2"))


def _missing(vault: ResourceId) -> tuple[ResourceId, ...]:
    near = (f"{vault}0", f"{SUB}1", f"{GROUP}0", f"{GROUP}0/providers/Microsoft.KeyVault/vaults/{vault.name}", str(vault)[:-1])
    odd = (
        f"{vault}/keys",
        f"{vault}/keys/k",
        f"{vault}/keys/k10",
        f"{vault}/secrets/k1",
        f"{vault}/keys/s1",
        f"{vault}/keys/k1/versions/x",
    )
    return tuple(map(rid, (*near, *odd)))


_COVERING, _BELOW, _MISSING = ({vault: make(vault) for vault in VAULT_IDS} for make in (_covering, _below, _missing))


class GrantDice(Dice):
    """Draws grants and denies."""

    def subject(self) -> str:
        return self.pick(TEAM, TEAM, OTHER_TEAM, STRANGER, FORMER) if self.random.random() < 0.1 + self.odd else APP_OBJECT

    def policy(self, tenant: str) -> AccessPolicy:
        is_compound = self.is_odd()
        strays = self.is_odd(0.5)
        return AccessPolicy(
            object_id=self.subject(),
            tenant_id=self.pick(OTHER_TENANT, TENANT, "") if strays else tenant,
            application_id=self.pick(APP_ID, STRANGER) if is_compound else None,
            keys=self.words(_KEY_WORDS),
            secrets=self.words(_SECRET_WORDS),
        )

    def words(self, words: tuple[str, ...]) -> frozenset[str]:
        if self.is_odd():
            return frozenset(self.some(words, 4))
        chance = self.random.random()
        return frozenset(words[:-1] if chance < 0.7 else ("all",) if chance < 0.9 else ("get", "wrapkey", "unwrapkey"))

    def scope(self, vault: ResourceId) -> ResourceId:
        if not self.is_odd():
            return self.pick(*_COVERING[vault])
        return self.pick(*_BELOW[vault]) if self.random.random() < 0.6 else self.pick(*_MISSING[vault])

    def assignments(self, vault: ResourceId) -> tuple[RoleAssignment, ...]:
        made: dict[tuple[ResourceId, str, str], RoleAssignment] = {}
        for number in range(self.pick(0, 1, 2, 3) if self.is_odd(2) else 1):
            scope, role, who = self.scope(vault), self.pick("role-1", "role-1", "role-2"), self.pick(APP_OBJECT, TEAM)
            # Azure allows no second assignment of the same three
            made[scope, role, who] = RoleAssignment(
                id=_ASSIGNMENTS[number],
                scope=scope,
                role_definition_id=role,
                principal_id=who,
                condition=_CONDITION if self.is_odd(0.7) else None,
            )
        return tuple(made.values())

    def schedule_instances(self, listed: Read[tuple[RoleAssignment, ...]]) -> tuple[ScheduleInstance, ...]:
        """Instances for some of the assignments, named by them or told by scope, role and principal alone."""
        made: list[ScheduleInstance] = []
        for assignment in listed if isinstance(listed, tuple) else ():
            for _ in range(self.pick(1, 1, 2) if self.is_odd() else 0):
                origin = self.pick(assignment.id, rid(str(assignment.id).upper()), None)
                made.append(
                    ScheduleInstance(
                        scope=assignment.scope,
                        role_definition_id=assignment.role_definition_id,
                        principal_id=assignment.principal_id,
                        ends_at=self.pick(None, *_ENDS),
                        origin=origin,
                    )
                )
        return tuple(made)

    def hsm_assignments(self) -> Mapping[str, Read[tuple[HsmRoleAssignment, ...]]]:
        lists: dict[str, Read[tuple[HsmRoleAssignment, ...]]] = {}
        for scope in ("/", "/keys/k1", "/keys/k10"):
            count = self.pick(0, 1, 2) if self.is_odd(2) else self.pick(0, 1, 1)
            made = tuple(
                HsmRoleAssignment(
                    id=f"{scope}/h{n}",
                    scope=scope,
                    role_definition_id=self.pick("role-1", "role-1", "role-2", "role-gone") if self.is_odd() else "role-1",
                    principal_id=self.subject(),
                )
                for n in range(count)
            )
            self.entry(lists, scope, self.read(made, absent=0.1))
        return lists

    def role(self, name: str, actions: tuple[str, ...], patterns: tuple[str, ...]) -> RoleDefinition:
        if not self.is_odd(1.5):
            return RoleDefinition(id=name, name=name, permissions=(PermissionBlock(data_actions=actions),))
        return RoleDefinition(
            id=name, name=name, permissions=tuple(self.block(actions, patterns) for _ in range(self.pick(0, 1, 1, 2, 2, 3)))
        )

    def block(self, actions: tuple[str, ...], patterns: tuple[str, ...]) -> PermissionBlock:
        pool = actions if self.random.random() < 0.5 else (*patterns, *patterns, *actions)
        return PermissionBlock(
            data_actions=self.some(pool, 5),
            not_data_actions=self.some((*actions, *patterns), 2) if self.random.random() < 0.3 else (),
            condition=_CONDITION if self.is_odd(0.5) else None,
        )

    def deny(self, vault: ResourceId) -> DenyAssignment:
        blocks = tuple(self.block(VAULT_ACTIONS, VAULT_PATTERNS) for _ in range(self.pick(1, 1, 2)))
        named = self.pick((APP_OBJECT,), (_EVERYONE,), (_EVERYONE,), (STRANGER,), (), (APP_OBJECT, STRANGER), (TEAM,))
        return DenyAssignment(
            id=_ANY_DENY,
            name="deny",
            scope=self.pick(*_COVERING[vault], *_BELOW[vault], *_MISSING[vault]),
            permissions=blocks,
            principals=frozenset(named),
            group_principals=frozenset(self.pick((), (), (TEAM,), (OTHER_TEAM,), (TEAM, OTHER_TEAM))),
            excluded=frozenset(self.pick((), (), (), (APP_OBJECT,), (STRANGER,), (TEAM,))),
            excluded_groups=frozenset(self.pick((), (), (), (TEAM,), (OTHER_TEAM,))),
            applies_to_children=self.pick(True, True, False),
            condition=_CONDITION if self.pick(False, False, False, True) else None,
        )
