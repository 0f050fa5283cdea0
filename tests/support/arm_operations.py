"""Which operation, as a role names it, a request to Azure Resource Manager needs.

The rule behind Azure's operation names: the provider and the types of the path, without the resources' names, and a verb for the
method (learn.microsoft.com/azure/role-based-access-control/resource-provider-operations). The path's last provider counts: a role
assignment on a vault is Microsoft.Authorization's.
"""

from __future__ import annotations

import re

_QUOTED = re.compile(r"'([^']+)'")
_NAMED = re.compile(r"\btype\s*(?:=~|==)\s*'([^']+)'")
_LISTED = re.compile(r"\btype\s+in~?\s*\(([^)]*)\)")
_VERBS = {"GET": "read", "HEAD": "read", "PUT": "write", "PATCH": "write", "DELETE": "delete"}
# Questions that are sent by POST: Azure calls them reads
_QUESTIONS = {"microsoft.resourcegraph/resources": "Microsoft.ResourceGraph/resources/read"}


def operation_of(method: str, path: str) -> str:
    """The operation's name, spelled as the path is. Raises ValueError for a path that is no resource, list or action."""
    parts = [each for each in path.partition("?")[0].split("/") if each]
    providers = [index for index, each in enumerate(parts) if each.lower() == "providers"]
    if not providers:
        return f"Microsoft.Resources/{_plain(parts, path)}/{_verb(method, path)}"
    namespace, *rest = parts[providers[-1] + 1 :] or [""]
    types = rest[0::2]
    if "." not in namespace or not types:
        raise ValueError(f"`{path}` names no resource type")
    if method.upper() != "POST":
        return f"{namespace}/{'/'.join(types)}/{_verb(method, path)}"
    question = _QUESTIONS.get(f"{namespace}/{'/'.join(types)}".lower())
    return question or f"{namespace}/{'/'.join(types)}/action"


def graph_operations(query: str) -> set[str]:
    """The reads without which Resource Graph leaves rows out of its answer, without an error: one for each type named."""
    named = _NAMED.findall(query) + [each for many in _LISTED.findall(query) for each in _QUOTED.findall(many)]
    return {f"{each}/read" for each in named if "/" in each}


def _plain(parts: list[str], path: str) -> str:
    if not parts or parts[0].lower() != "subscriptions":
        raise ValueError(f"`{path}` is nothing of a subscription")
    return "/".join(parts[0::2])


def _verb(method: str, path: str) -> str:
    try:
        return _VERBS[method.upper()]
    except KeyError:
        raise ValueError(f"`{method} {path}` is no operation on a resource") from None
