"""keydrift's side of the decision benchmarks: microseconds of CPU a decision, and what was decided (`beside.py` runs it).

`python bench/decisions.py policies WORK` and `python bench/decisions.py roles WORK`, each in a process of its own; WORK is a file
that `decision_work` wrote. Reading Azure's documents into facts is timed apart, as a peer's parsing is.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cpu_time import all_of, medians
from decision_work import TENANT

from keydrift.access.key_state import Horizon
from keydrift.access.verdict import decide
from keydrift.adapters.arm_decode import key_vault
from keydrift.adapters.wire import Node
from keydrift.bulk.listing import DenyIndex, HolderIndex, WatchedScopes
from keydrift.document import verdict_document
from keydrift.facts import (
    DenyAssignment,
    Facts,
    KeyObject,
    KeyVault,
    PermissionBlock,
    Principal,
    RoleAssignment,
    RoleDefinition,
    StoreFacts,
)
from keydrift.key_uri import KeyUri
from keydrift.model import AppIdentity, KeyBinding, Scenario, State, StoreObject, Verdict
from keydrift.resource_id import ResourceId

type Document = dict[str, Any]
type Case = tuple[KeyBinding, Facts]

_NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
_HORIZON = Horizon(now=_NOW)


def policies(work: Document) -> Document:
    """One decision for each vault that decides by access policies."""
    bodies, who = work["vaults"], work["principal"]
    vaults = [key_vault(Node(each, "$")) for each in bodies]
    cases = [_case(vault, who, work["app"], StoreFacts(store=vault)) for vault in vaults]
    verdicts = [decide(*case, _HORIZON) for case in cases]
    return {
        "decide_us": medians(lambda: all_of(decide(*case, _HORIZON) for case in cases), len(cases)),
        "document_us": medians(lambda: all_of(verdict_document(verdict) for verdict in verdicts), len(verdicts)),
        "decode_us": medians(lambda: all_of(key_vault(Node(each, "$")) for each in bodies), len(bodies)),
        "answers": [verdict.state is State.HELD for verdict in verdicts],
    }


def roles(work: Document) -> Document:
    """Decisions about one vault out of a subscription's role assignments: looked up by principal and place, then weighed."""
    vault, who = ResourceId.parse(work["vault"]), work["principal"]
    holders = (who, *work["groups"])
    scopes = WatchedScopes.of([vault])
    assigned = [_assignment(each) for each in work["assignments"]]
    denied = [_deny(each) for each in work["denies"]]

    def index() -> tuple[HolderIndex[RoleAssignment], DenyIndex]:
        return HolderIndex(scopes, assigned, {who}), DenyIndex(scopes, denied)

    assignments, denies = index()
    definitions = {role: _definition(role, actions) for role, actions in work["roles"].items()}
    store = KeyVault(id=vault, location="westeurope", tenant_id=TENANT, rbac=True, soft_delete=True, purge_protection=True)

    def answer() -> Verdict:
        facts = StoreFacts(
            store=store,
            assignments={who: assignments.reaching(vault, holders)},
            definitions=definitions,
            denies=denies.concerning(vault),
        )
        return decide(*_case(store, who, work["app"], facts, frozenset(work["groups"])), _HORIZON)

    verdict = answer()
    return {
        "decide_us": medians(lambda: all_of(answer() for _ in range(200)), 200),
        "index_us": medians(index, 1),
        "weighed": len(verdict.proof),
        "answers": [verdict.state is State.HELD],
    }


def _case(vault: KeyVault, who: str, app: str, facts: StoreFacts, groups: frozenset[str] = frozenset()) -> Case:
    uri = KeyUri(f"{vault.id.name}.vault.azure.net", "keys", "k1")
    target = StoreObject(uri=uri, store_id=vault.id)
    binding = KeyBinding(id="b", scenario=Scenario.CVM_CMK, identity=AppIdentity(app_id=app), target=target)
    complete = StoreFacts(
        store=vault,
        objects=MappingProxyType({uri: KeyObject(uri=uri, key_type="RSA-HSM", key_size=3072)}),
        assignments=facts.assignments,
        definitions=facts.definitions,
        denies=facts.denies,
    )
    principal = Principal(object_id=who, app_id=app)
    return binding, Facts(
        read_at=_NOW, stores={uri.host: complete}, principals={app: principal}, groups={who: groups}, tenant_id=TENANT
    )


def _assignment(document: Document) -> RoleAssignment:
    return RoleAssignment(
        id=ResourceId.parse(document["id"]),
        scope=ResourceId.parse(document["scope"]),
        role_definition_id=document["role"],
        principal_id=document["principal"],
    )


def _deny(document: Document) -> DenyAssignment:
    return DenyAssignment(
        id=ResourceId.parse(document["id"]),
        name=document["name"],
        scope=ResourceId.parse(document["scope"]),
        permissions=(PermissionBlock(data_actions=tuple(document["dataActions"])),),
        principals=frozenset({document["principal"]}),
    )


def _definition(role: str, actions: Sequence[str]) -> RoleDefinition:
    return RoleDefinition(id=role, name=role, permissions=(PermissionBlock(data_actions=tuple(actions)),))


_KINDS: dict[str, Callable[[Document], Document]] = {"policies": policies, "roles": roles}


def main() -> None:
    """Read the work, print the figures as JSON."""
    kind, path = sys.argv[1:]
    print(json.dumps(_KINDS[kind](json.loads(Path(path).read_text(encoding="utf-8")))))


if __name__ == "__main__":
    main()
