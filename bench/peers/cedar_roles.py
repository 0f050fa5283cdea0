"""Cedar's answer out of the same role assignments, in its own environment; policies and entities are parsed once, timed apart.

An assignment is a `permit` for its holder, its role's data actions and everything in its scope; a deny a `forbid`. Scopes are
entities that contain each other, as are groups and their members.
"""

from __future__ import annotations

import fnmatch
import itertools
import json
import sys
from pathlib import Path
from typing import Any

import cedarpy
from cpu_time import medians

type Document = dict[str, Any]


def main() -> None:
    """Read the work, print microseconds of CPU a decision (every needed action), and what was answered."""
    work = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    text, graph = _policies(work), _entities(work)
    policies, entities = cedarpy.PolicySet.from_str(text), cedarpy.Entities.from_json_str(json.dumps(graph))
    who, key = _uid("Principal", work["principal"]), _uid("Scope", work["key"])
    requests = [{"principal": who, "action": _uid("Action", action), "resource": key} for action in work["actions"]]

    def answer() -> list[bool]:
        return [cedarpy.is_authorized(each, policies, entities).allowed for each in requests]

    figures = {
        "decide_us": medians(answer, 1, rounds=25),
        "index_us": medians(lambda: (cedarpy.PolicySet.from_str(text), cedarpy.Entities.from_json_str(json.dumps(graph))), 1),
        "answers": [all(answer())],
    }
    print(json.dumps(figures))


def _uid(kind: str, name: str) -> dict[str, str]:
    return {"type": kind, "id": name}


def _policies(work: Document) -> str:
    given = {role: _actions(patterns, work["actions"]) for role, patterns in work["roles"].items()}
    permits = [
        f'permit(principal in {_kind(each, work)}::"{each["principal"]}", action in [{given[each["role"]]}], '
        f'resource in Scope::"{each["scope"]}");'
        for each in work["assignments"]
    ]
    forbids = [
        f'forbid(principal == Principal::"{each["principal"]}", action in [{_actions(each["dataActions"], work["actions"])}], '
        f'resource in Scope::"{each["scope"]}");'
        for each in work["denies"]
    ]
    return "\n".join([*permits, *forbids])


def _kind(assignment: Document, work: Document) -> str:
    return "Group" if assignment["principal"] in work["groups"] else "Principal"


def _actions(patterns: list[str], needed: list[str]) -> str:
    """A role's data actions; a pattern stands for the needed ones that it covers, since Cedar's actions are entities."""
    covered = [each for each in needed if any(fnmatch.fnmatchcase(each, pattern) for pattern in patterns)]
    named = [each for each in patterns if "*" not in each]
    return ", ".join(f'Action::"{each}"' for each in dict.fromkeys([*named, *covered])) or 'Action::"none"'


def _entities(work: Document) -> list[Document]:
    groups = [{"uid": _uid("Group", each), "attrs": {}, "parents": []} for each in work["groups"]]
    member = {
        "uid": _uid("Principal", work["principal"]),
        "attrs": {},
        "parents": [_uid("Group", each) for each in work["groups"]],
    }
    group = work["vault"].rpartition("/providers/")[0]
    chain = [work["key"], work["vault"], group, group.rpartition("/resourceGroups/")[0]]
    scopes = [
        {"uid": _uid("Scope", below), "attrs": {}, "parents": [_uid("Scope", above)]}
        for below, above in itertools.pairwise(chain)
    ]
    return [*groups, member, *scopes]


if __name__ == "__main__":
    main()
