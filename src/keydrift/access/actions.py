"""Data-action patterns: which actions a role's permissions cover."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from keydrift.facts import PermissionBlock


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    # `*` stands for any run of characters, `/` included, anywhere in the string; letter case never matters
    # (role-definitions.md, custom-roles.md). Nothing else is special, so `.` and `?` are literal.
    return re.compile(".*".join(map(re.escape, pattern.strip().lower().split("*"))), re.DOTALL)


# A tenant has few patterns and asks a dozen actions of each, for every role assignment that it weighs
@lru_cache(maxsize=65536)
def matches(pattern: str, action: str) -> bool:
    """Whether the pattern of a role covers the (full) data action."""
    return _compiled(pattern).fullmatch(action.lower()) is not None


def allowed_by(block: PermissionBlock, action: str) -> bool:
    """Whether one permission block gives the action: its data actions less its own `notDataActions`.

    `Not*` subtracts inside its own block only; it denies nothing that another block or role gives (azure-facts 4.1).
    """
    return any(matches(p, action) for p in block.data_actions) and not any(matches(p, action) for p in block.not_data_actions)


def given_by(blocks: Iterable[PermissionBlock], action: str) -> tuple[PermissionBlock, ...]:
    """The blocks that give the action; empty where none does."""
    return tuple(block for block in blocks if allowed_by(block, action))
