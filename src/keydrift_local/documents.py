"""Reading and patching JSON documents of Azure's whose members may be missing or of another type.

Nothing here knows what a document means.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

type JsonObject = dict[str, object]


def member(document: object, *path: str) -> object:
    """The value at that path of members; None where any step is missing."""
    found = document
    for name in path:
        if not isinstance(found, Mapping):
            return None
        found = found.get(name)
    return found


def members(document: object, *path: str) -> JsonObject:
    """The object at that path; empty where there is none."""
    found = member(document, *path)
    return found if isinstance(found, dict) else {}


def text(document: object, *path: str) -> str | None:
    """The non-empty string at that path, or None."""
    found = member(document, *path)
    return found if isinstance(found, str) and found else None


def items(document: object, *path: str) -> list[object]:
    """The array at that path; empty where there is none."""
    found = member(document, *path)
    return found if isinstance(found, list) else []


def merge_patch(target: object, patch: object) -> object:
    """RFC 7396: null removes a member, objects merge, anything else replaces."""
    if not isinstance(patch, Mapping):
        return patch
    merged: JsonObject = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def parse_time(value: str) -> datetime:
    """An RFC 3339 time in UTC. Raises ValueError for anything else, a time without an offset included."""
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError("a time needs an offset such as `Z`")
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("a time at the edge of the calendar has no UTC") from error


def format_time(moment: datetime) -> str:
    """Whole seconds in UTC, as Key Vault spells its deletion dates."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
