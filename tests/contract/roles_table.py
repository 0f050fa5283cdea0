"""Which roles satisfy which scenario, by keydrift's own evaluator over the corpus' role definitions, and `docs/roles.md` of it.

Write the page with `KEYDRIFT_CORPUS=… PYTHONPATH=tests python -m contract.roles_table`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from keydrift.adapters.arm_decode import role_definition
from keydrift.adapters.wire import Node
from keydrift.facts import RoleDefinition
from keydrift.model import PermissionModel, Scenario, State, Verdict
from keydrift.requirement import REQUIREMENTS
from support.builders import VAULT, assignment, binding, granting, judged, principal_of, with_store
from support.corpus import corpus

type Document = dict[str, Any]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "roles.md"
POLICY, RBAC, HSM = PermissionModel.ACCESS_POLICY, PermissionModel.RBAC, PermissionModel.MANAGED_HSM
BUILT_IN = "built_in_roles.json"
LOCAL = "managed_hsm_local_roles.json"
GRANTS = "backup_grants_in_the_wild.json"


@lru_cache(maxsize=8)
def corpus_list(name: str) -> list[Document]:
    """The entries of one list of the corpus."""
    found = json.loads((corpus() / "roles" / name).read_text(encoding="utf-8"))
    assert isinstance(found, list)
    return found


@lru_cache(maxsize=2)
def roles(name: str) -> dict[str, RoleDefinition]:
    """The corpus' roles by name, each loaded by the product's decoder in the shape that ARM sends."""
    loaded = {}
    for each in corpus_list(name):
        properties = {"roleName": each["name"], "type": "BuiltInRole", "permissions": each["permissions"]}
        loaded[each["name"]] = role_definition(Node({"id": each["id"], "name": each["id"], "properties": properties}))
    return loaded


# --- the evaluator -------------------------------------------------------------------------------------------------------


def judged_with(scenario: Scenario, model: PermissionModel, *held: RoleDefinition, at_key: bool = False) -> Verdict:
    """The verdict of a principal that holds these roles, together, and nothing else: on the key store, or on its key alone."""
    of = binding(scenario, model)
    blocks = tuple(block for role in held for block in role.permissions)
    joined = RoleDefinition(id="role-1", name=" + ".join(role.name for role in held), permissions=blocks)
    facts = granting(of, model, ())
    for host in of.hosts:
        changes: Document = {"hsm_definitions": (joined,)} if model is HSM else {"definitions": {"role-1": joined}}
        if at_key:
            who = principal_of(of)
            changes["assignments"] = {who: (assignment(f"{VAULT}/keys/k1", principal=who),)}
        facts = with_store(facts, host, **changes)
    return judged(of, facts)


def satisfying(scenario: Scenario, model: PermissionModel) -> tuple[str, ...]:
    """The built-in roles that alone give the scenario all it needs, by name."""
    known = roles(LOCAL if model is HSM else BUILT_IN)
    return tuple(sorted(name for name, role in known.items() if judged_with(scenario, model, role).state is State.HELD))


# --- grants in the wild --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One grant that somebody published, and what it does for each scenario of its principal."""

    number: int
    principal: str
    grant: str
    outcome: dict[Scenario, str]
    reason: str = ""


_SCENARIOS = {
    "Backup Management Service": (Scenario.ADE_BEK, Scenario.ADE_KEK, Scenario.CVM_CMK),
    "Recovery Services vault": (Scenario.RSV_CMK,),
    "Backup vault": (Scenario.BACKUP_VAULT_CMK,),
    "Disk encryption set": (Scenario.CVM_DES,),
}
# What the corpus tells of no grant that could be judged, by a word of its text
_NOT_APPLICABLE = {
    "grant elsewhere": "the grant itself is not shown, only the variable that names the principal",
    "Custom role required": "a demand for a role, and no grant",
    "…;": "the list of key permissions is cut short in the source",
}
_ON_ONE_KEY = "scoped to ONE KEY"
# The only custom role: its data actions, written in full
_CUSTOM = (
    "Microsoft.KeyVault/vaults/keys/read",
    *(f"Microsoft.KeyVault/vaults/secrets/{w}/action" for w in ("backup", "restore")),
)


def grants() -> Iterator[Judged]:
    """Every grant of the corpus, judged."""
    for number, entry in enumerate(corpus_list(GRANTS), 1):
        who = next(each for each in _SCENARIOS if entry["principal"].startswith(each))
        reason = next((why for word, why in _NOT_APPLICABLE.items() if word in entry["grant"]), "")
        words = "-" if reason else _words(entry)
        outcome = {} if reason else {scenario: _outcome(scenario, entry) for scenario in _SCENARIOS[who]}
        yield Judged(number=number, principal=who, grant=words, outcome=outcome, reason=reason)


def _outcome(scenario: Scenario, entry: Document) -> str:
    if entry["model"] == "access policy":
        found = judged(of := binding(scenario, POLICY), granting(of, POLICY, _policy_words(entry["grant"])))
    else:
        found = judged_with(scenario, RBAC, _role(entry), at_key=_ON_ONE_KEY in entry["grant"])
    missing = ", ".join(name.removeprefix("Microsoft.KeyVault/vaults/") for name in found.missing)
    match found.state:
        case State.HELD:
            return "satisfies"
        case State.AT_RISK:
            return f"satisfies, lacks advisory {missing}"
        case _:
            return f"lacks {missing}"


def _policy_words(grant: str) -> list[str]:
    """`keys: get,list; secrets: backup (remark)` as `keys/get`, …"""
    listed = re.findall(r"(keys|secrets): *([A-Za-z, ]+)", grant)
    return [f"{kind}/{word.strip()}" for kind, words in listed for word in words.split(",")]


def _role(entry: Document) -> RoleDefinition:
    if entry["model"] == "RBAC custom role":
        block: Document = {"dataActions": list(_CUSTOM), "notDataActions": []}
        return role_definition(Node({"id": "custom", "name": "custom", "properties": {"permissions": [block]}}))
    known = roles(BUILT_IN)
    # Some names begin with others: the longest that the text begins with
    name = max((each for each in known if entry["grant"].startswith(each)), key=len)
    return replace(known[name], name=name)


def _words(entry: Document) -> str:
    if entry["model"] == "access policy":
        return ", ".join(sorted(word.lower() for word in _policy_words(entry["grant"])))
    if entry["model"] == "RBAC custom role":
        return "a custom role of keys/read, secrets/backup/action, secrets/restore/action"
    at = ", on one key" if _ON_ONE_KEY in entry["grant"] else ""
    return f"{_role(entry).name}{at}"


# --- the page ------------------------------------------------------------------------------------------------------------

_INTRODUCTION = """# Which roles give a backup what it needs

Made by `PYTHONPATH=tests python -m contract.roles_table` from a public list of Azure's {built_in} built-in roles and {local}
Managed HSM local roles; do not edit. keydrift judges by effective data actions, never by a role's name: a custom role of the
required actions is as good as any role named here, and two roles may do together what neither does alone.
"""


def page() -> str:
    """The whole page."""
    counted = {"built_in": len(roles(BUILT_IN)), "local": len(roles(LOCAL))}
    lines = [_INTRODUCTION.format(**counted)]
    for model, title in ((RBAC, "Azure RBAC"), (HSM, "Managed HSM")):
        lines += [
            f"## {title}",
            "",
            "| scenario | required data actions | built-in roles that alone give them |",
            "|---|---|---|",
        ]
        for scenario in Scenario:
            requirement = REQUIREMENTS.get((scenario, model))
            if requirement is None:
                lines.append(f"| `{scenario}` | not supported | - |")
                continue
            actions = "<br>".join(f"`{each.name}`" for each in requirement.permissions)
            lines.append(f"| `{scenario}` | {actions} | {'<br>'.join(satisfying(scenario, model)) or 'none'} |")
        lines.append("")
    lines += [
        "## Grants that others have published",
        "",
        "What documents, modules and scripts grant, and what it does for each scenario of that principal.",
        "",
        "| principal | grant | verdict |",
        "|---|---|---|",
    ]
    for each in grants():
        verdict = "<br>".join(f"`{scenario}`: {words}" for scenario, words in each.outcome.items())
        lines.append(f"| {each.principal} | {each.grant} | {verdict or f'not applicable: {each.reason}'} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
