"""Hypothesis strategies: key bindings with facts of every sort, near-misses and failed reads included."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from keydrift.access.rbac import EVERYONE
from keydrift.facts import (
    Absent,
    AccessPolicy,
    DeletedKeyStore,
    DenyAssignment,
    Facts,
    HsmRoleAssignment,
    KeyVault,
    NetworkRules,
    PermissionBlock,
    Principal,
    Read,
    RoleAssignment,
    RoleDefinition,
    StoreFacts,
    Unread,
)
from keydrift.model import KeyBinding, PermissionModel, ResourceIdentity, Scenario
from keydrift.requirement import REQUIREMENTS
from support.builders import (
    APP_ID,
    APP_OBJECT,
    GROUP,
    MANAGEMENT_GROUP,
    MHSM,
    NOW,
    OTHER_TEAM,
    OTHER_TENANT,
    POLICY,
    STRANGER,
    SUB,
    TEAM,
    TENANT,
    USER_IDENTITY,
    USER_OBJECT,
    VAULT,
    VERSION,
    assignment,
    binding,
    deny,
    facts_of,
    hsm,
    hsm_assignment,
    key_object,
    principal_of,
    rid,
    store_facts,
    unread,
    user_identity,
    vault,
)

ACTIONS = sorted({p.name for r in REQUIREMENTS.values() if r.model is not POLICY for p in r.permissions})
WORDS = sorted({p.name for r in REQUIREMENTS.values() if r.model is POLICY for p in r.permissions} | {"keys/all", "secrets/all"})
PATTERNS = [*ACTIONS, "*", "Microsoft.KeyVault/vaults/*", "Microsoft.KeyVault/*/read", "*/backup/action", "Microsoft.Storage/*"]
SCOPES = ["/", MANAGEMENT_GROUP, SUB, f"{SUB}0", GROUP, f"{GROUP}0", VAULT, f"{VAULT}b"]
SCOPES += [f"{VAULT}/{kind}/{name}" for kind, name in (("keys", "k1"), ("keys", "k10"), ("secrets", "s1"), ("secrets", "s2"))]
LOCAL_SCOPES = ["/", "/keys", "/keys/k1", "/keys/k10"]
ROLES = ["r1", "r2", "r3"]
CONDITIONS = st.sampled_from([None, None, None, "@Resource[x]"])
GROUP_IDS = st.frozensets(st.sampled_from([TEAM, OTHER_TEAM]))


def maybe_unread[T](made: st.SearchStrategy[T]) -> st.SearchStrategy[T | Absent | Unread]:
    """Mostly the value, at times absent or unread."""
    answered: st.SearchStrategy[T | Absent | Unread] = made
    return st.one_of(answered, answered, answered, st.just(Absent(what="it")), st.builds(unread, st.sampled_from(["a", "b"])))


blocks: st.SearchStrategy[PermissionBlock] = st.builds(
    PermissionBlock,
    data_actions=st.lists(st.sampled_from(PATTERNS), max_size=4).map(tuple),
    not_data_actions=st.lists(st.sampled_from(PATTERNS), max_size=1).map(tuple),
    condition=CONDITIONS,
)
definitions: st.SearchStrategy[RoleDefinition] = st.builds(
    RoleDefinition, id=st.sampled_from(ROLES), name=st.just("role"), permissions=st.lists(blocks, max_size=2).map(tuple)
)
numbers = st.integers(0, 10**9).map(str)


def assignments(who: str) -> st.SearchStrategy[RoleAssignment]:
    """Role assignments that reach the principal."""
    return st.builds(
        assignment,
        st.sampled_from(SCOPES),
        st.sampled_from([*ROLES, "r4"]),
        st.sampled_from([who, TEAM]),
        numbers,
        CONDITIONS,
    )


def local_assignments(who: str) -> st.SearchStrategy[HsmRoleAssignment]:
    """Managed HSM local role assignments of the principal, its groups or strangers."""
    return st.builds(
        hsm_assignment,
        st.sampled_from(LOCAL_SCOPES),
        st.sampled_from([*ROLES, "r4"]),
        st.sampled_from([who, TEAM, OTHER_TEAM, STRANGER]),
        numbers,
    )


def policies(who: str) -> st.SearchStrategy[AccessPolicy]:
    """Access policy entries of the principal, its groups or strangers."""

    def entry(object_id: str, names: list[str], application: str | None, tenant: str) -> AccessPolicy:
        words = {
            kind: frozenset(n.partition("/")[2].lower() for n in names if n.startswith(kind)) for kind in ("keys", "secrets")
        }
        return AccessPolicy(object_id=object_id, tenant_id=tenant, application_id=application, **words)

    return st.builds(
        entry,
        st.sampled_from([who, who, TEAM, OTHER_TEAM, STRANGER]),
        st.lists(st.sampled_from(WORDS), max_size=6),
        st.sampled_from([None, None, None, STRANGER]),
        st.sampled_from([TENANT, TENANT, TENANT, OTHER_TENANT]),
    )


def denies(who: str) -> st.SearchStrategy[DenyAssignment]:
    """Deny assignments that name or exclude the principal, its groups, everyone or strangers."""
    people = st.frozensets(st.sampled_from([who, STRANGER, EVERYONE]))
    return st.builds(
        lambda scope, number, **changes: deny(scope=scope, **changes, id=rid(f"/d/{number}")),
        st.sampled_from(SCOPES),
        numbers,
        permissions=st.lists(blocks, min_size=1, max_size=2).map(tuple),
        principals=people,
        group_principals=GROUP_IDS,
        excluded=st.frozensets(st.sampled_from([who, STRANGER])),
        excluded_groups=GROUP_IDS,
        applies_to_children=st.booleans(),
        condition=CONDITIONS,
    )


@st.composite
def bindings(draw: st.DrawFn) -> tuple[KeyBinding, PermissionModel]:
    """A key binding under a model that its scenario may be found in, supported or not."""
    scenario = draw(st.sampled_from(list(Scenario)))
    model = draw(st.sampled_from(list(PermissionModel)))
    if scenario is Scenario.ADE_BEK and model is MHSM:
        model = POLICY  # a Managed HSM holds no secrets
    made = binding(scenario, model, **({"secrets": ()} if model is MHSM else {}))
    if isinstance(made.identity, ResourceIdentity) and draw(st.booleans()):
        attached = draw(st.sampled_from([USER_OBJECT, USER_OBJECT, None]))
        chosen = {rid(USER_IDENTITY).key: attached} if draw(st.integers(0, 4)) else {}
        made = replace(made, identity=user_identity(str(made.identity.resource_id), attached=chosen))
    return made, model


_moments = st.sampled_from([None, None, NOW - timedelta(days=1), NOW + timedelta(days=1), NOW + timedelta(days=400)])
networks = st.builds(
    NetworkRules,
    public_network_access=st.sampled_from(["enabled", "enabled", "disabled", "securedbyperimeter"]),
    default_action=st.sampled_from(["allow", "deny"]),
    bypass=st.sampled_from(["azureservices", "none"]),
)


@st.composite
def _stores(draw: st.DrawFn, of: KeyBinding, model: PermissionModel, host: str) -> StoreFacts:
    who = principal_of(of)
    common: dict[str, Any] = {
        "purge_protection": draw(st.booleans()),
        "network": draw(networks),
        "tenant_id": draw(st.sampled_from([TENANT, TENANT, TENANT, OTHER_TENANT])),
    }
    if model is MHSM:
        made = store_facts(of, host, draw(maybe_unread(st.just(hsm(**common)))))
    else:
        entries = draw(st.lists(policies(who), max_size=5).map(tuple))
        shown = vault(rbac=model is not POLICY, access_policies=entries, **common)
        made = store_facts(of, host, draw(maybe_unread(st.just(shown))))
    objects = {}
    for each in of.objects:
        healthy = key_object(each)
        changed = st.builds(
            lambda enabled, expires, begins, e=healthy: replace(e, enabled=enabled, expires=expires, not_before=begins),
            st.sampled_from([True, True, True, False]),
            _moments,
            _moments,
        )
        objects[each.uri.versionless] = draw(maybe_unread(changed))
    listed = st.lists(assignments(who), max_size=4).map(tuple)
    local = st.lists(local_assignments(who), max_size=4).map(tuple)
    return replace(
        made,
        watched_before=draw(st.booleans()),
        deleted=draw(st.one_of(st.none(), maybe_unread(st.just(DeletedKeyStore(id=rid(VAULT)))))),
        objects=objects,
        assignments={who: draw(maybe_unread(listed))},
        definitions={name: draw(maybe_unread(definitions)) for name in ROLES},
        denies=draw(maybe_unread(st.lists(denies(who), max_size=2).map(tuple))),
        hsm_assignments={scope: draw(maybe_unread(local)) for scope in ("/", "/keys/k1")},
        hsm_definitions=draw(maybe_unread(st.lists(definitions, max_size=3, unique_by=lambda d: d.id).map(tuple))),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A key binding and facts about it."""

    binding: KeyBinding
    model: PermissionModel
    facts: Facts

    @property
    def who(self) -> str:
        """The principal's object id."""
        return principal_of(self.binding)

    def with_store(self, host: str, **changes: object) -> Case:
        """The case with one key store's facts changed."""
        store = replace(self.facts.stores[host], **changes)  # type: ignore[arg-type]
        return replace(self, facts=replace(self.facts, stores={**self.facts.stores, host: store}))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A key binding and facts, healthy and broken in every way."""
    made, model = draw(bindings())
    stores = {host: draw(_stores(made, model, host)) for host in sorted(made.hosts)}
    known = {
        APP_ID: draw(
            maybe_unread(st.builds(Principal, object_id=st.just(APP_OBJECT), enabled=st.sampled_from([True, True, False])))
        ),
        rid(USER_IDENTITY).key: draw(maybe_unread(st.just(Principal(object_id=USER_OBJECT, tenant_id=TENANT)))),
    }
    facts = facts_of(
        made,
        stores,
        principals=known,
        groups={principal_of(made): draw(maybe_unread(GROUP_IDS))},
        last_known=draw(st.sampled_from([{}, {APP_ID: APP_OBJECT}])),
    )
    return Case(binding=made, model=model, facts=facts)


def hidings(case: Case) -> Iterator[tuple[str, Case]]:
    """The case with each of its facts hidden in turn: replaced by a failed read."""
    blind = unread("what was hidden")
    facts = case.facts
    for name in ("principals", "groups"):
        reads: dict[str, Read[object]] = getattr(facts, name)
        for key in reads:
            changed = {name: {**reads, key: blind}}
            yield f"{name} {key}", replace(case, facts=replace(facts, **changed))  # type: ignore[arg-type]
    for host, store in facts.stores.items():
        for name in ("store", "deleted", "denies", "hsm_definitions"):
            if name != "deleted" or store.deleted is not None:
                yield name, case.with_store(host, **{name: blind})
        for name in ("objects", "assignments", "definitions", "hsm_assignments"):
            for key in getattr(store, name):
                yield f"{name} {key}", case.with_store(host, **{name: {**getattr(store, name), key: blind}})


def is_policy_vault(store: StoreFacts) -> bool:
    """Whether the store was read and decides by access policies."""
    return isinstance(store.store, KeyVault) and not store.store.rbac


_EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
times: st.SearchStrategy[datetime] = st.timedeltas(timedelta(), timedelta(days=7000)).map(lambda passed: _EPOCH + passed)
versions = st.sampled_from([VERSION, "0" * 32])
