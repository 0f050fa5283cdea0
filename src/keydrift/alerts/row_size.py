"""What a row may hold: each field far under the 64 KB at which Log Analytics cuts it in silence, a row far under 1 MB. Pure.

Limits: azure-facts 6. What is left out here says so where it stands. A cut list ends with an element that tells how many are
missing: a string in a list of strings, an object `{"cut": …}` in a list of objects.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

FIELD_BYTES = 30_000
# Elements of a list inside a list's elements: as many as let all of those stay
_MOST_ITEMS = (50, 10, 3)
_STRING_CHARS = 2_000


def fitted(row: Mapping[str, object]) -> dict[str, object]:
    """The row with every field under 30,000 bytes of JSON; fields that are already are untouched."""
    if size(row) <= FIELD_BYTES:
        return dict(row)  # nearly every row: one look at the whole instead of one at each field
    return {name: value if size(value) <= FIELD_BYTES else _fitted(value) for name, value in row.items()}


def size(value: object) -> int:
    """Bytes of JSON, as rows are sent: ASCII, with escapes."""
    return len(json.dumps(value))


def _fitted(value: object) -> object:
    match value:
        case str():
            return _text(value, FIELD_BYTES)
        case Mapping():
            return _members({name: _shortened(each, _MOST_ITEMS[0]) for name, each in value.items()}, FIELD_BYTES)
        case list():
            # Long lists and texts inside the elements go first, so that as many elements as can be stay
            shorter = ([_shortened(each, most) for each in value] for most in _MOST_ITEMS)
            fit = next((each for each in shorter if size(each) <= FIELD_BYTES), None)
            return fit or _elements([_shortened(each, _MOST_ITEMS[-1]) for each in value], FIELD_BYTES)
        case _:
            return value


def _shortened(value: object, most: int) -> object:
    """A part of a field, with at most so many elements a list and 2,000 characters a text, at any depth."""
    match value:
        case str() if len(value) > _STRING_CHARS:
            return f"{value[:_STRING_CHARS]}… (cut: {len(value) - _STRING_CHARS:,} characters more)"
        case Mapping():
            return {name: _shortened(each, most) for name, each in value.items()}
        case list() if len(value) > most:
            return [*(_shortened(each, most) for each in value[:most]), _rest(value, most)]
        case list():
            return [_shortened(each, most) for each in value]
        case _:
            return value


def _text(value: str, limit: int) -> str:
    kept = len(value)
    # A character takes up to 12 bytes as JSON
    while size(value[:kept]) > limit - 100:
        kept -= max(1, kept // 16)
    return f"{value[:kept]}… (cut: {len(value) - kept:,} characters more)"


def _elements(value: Sequence[object], limit: int) -> list[object]:
    kept: list[object] = []
    room = limit - 100
    for each in value:
        room -= size(each) + 2
        if room < 0:
            return [*kept, _rest(value, len(kept))]
        kept.append(each)
    return kept


def _members(value: Mapping[str, object], limit: int) -> dict[str, object]:
    kept: dict[str, object] = {}
    room = limit - 100
    for name, each in value.items():
        room -= size(name) + size(each) + 4
        if room < 0:
            return {**kept, "cut": f"{len(value) - len(kept):,} more"}
        kept[name] = each
    return kept


def _rest(value: Sequence[object], kept: int) -> object:
    told = f"{len(value) - kept:,} more"
    return f"… (cut: {told})" if all(isinstance(each, str) for each in value) else {"cut": told}
