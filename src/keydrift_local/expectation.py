"""What a scenario file expects, beside what was delivered."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence

from keydrift_local.documents import JsonObject


def matches(expected: object, actual: object) -> bool:
    """Whether a partial row fits: objects by the members named, lists item by item, ids in any letter case."""
    match expected:
        case Mapping():
            return isinstance(actual, Mapping) and all(matches(value, actual.get(name)) for name, value in expected.items())
        case list():
            return (
                isinstance(actual, list)
                and len(actual) == len(expected)
                and all(matches(e, a) for e, a in zip(expected, actual, strict=True))
            )
        case str() if expected.startswith(("/", "https://")):
            return isinstance(actual, str) and actual.lower() == expected.lower()
        case _:
            return expected == actual and isinstance(expected, bool) == isinstance(actual, bool)


def difference(expected: Sequence[JsonObject], delivered: Sequence[JsonObject]) -> str | None:
    """A unified diff of expected and delivered alerts, or None where they match, in order and in number."""
    if len(expected) == len(delivered) and all(map(matches, expected, delivered)):
        return None
    names = list(dict.fromkeys(name for each in expected for name in each)) or [
        "Kind",
        "Verdict",
        "Scenario",
        "FindingCodes",
        "KeyUri",
    ]
    wanted = [line for each in expected for line in _lines(each, list(each))]
    shown = [
        line
        for index, row in enumerate(delivered)
        for line in (
            _lines(expected[index], list(expected[index]))
            if index < len(expected) and matches(expected[index], row)
            else _lines(row, list(expected[index]) if index < len(expected) else names)
        )
    ]
    return "\n".join(difflib.unified_diff(wanted, shown, "expected", "delivered", lineterm="", n=2))


def _lines(row: JsonObject, names: list[str]) -> list[str]:
    return json.dumps({name: row.get(name) for name in names}, indent=1, ensure_ascii=False).splitlines()
