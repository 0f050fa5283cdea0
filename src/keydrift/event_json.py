"""Reading JSON that others spelled: text or base64 of it, loosely named members, objects inside strings, any RFC 3339 time.

Nothing here knows what an event means; `events` does. Only `parse` and `fingerprint` raise; the rest answer None, because a
member that cannot be read is no reason to lose the hint that the rest of an event is.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime

from keydrift.errors import DecodeError

type Members = Mapping[str, object]

# Longer than any id, name or address in a real event; an event of Event Grid's own limit, 1 MiB, is all one name otherwise
MOST_CHARS = 1_024

# RFC 3339 with any number of fraction digits: Event Grid writes seven, Python reads six.
_INSTANT = re.compile(
    r"(?P<second>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:\.(?P<fraction>\d+))?(?P<offset>Z|[+-]\d\d:\d\d)",
    re.ASCII | re.IGNORECASE,
)


def parse(payload: str | bytes) -> object:
    """Read JSON, or base64 of JSON (what Event Grid puts on a storage queue). Raises DecodeError at `$` for anything else.

    `NaN`, `Infinity` and nesting deeper than the interpreter's stack are refused too.
    """
    try:
        return _loads(payload)
    except (ValueError, RecursionError) as error:
        decoded = _from_base64(payload)
        if decoded is None:
            raise DecodeError("$", f"expected JSON, or base64 of JSON: {str(error)[:120]}") from error
    try:
        return _loads(decoded)
    except (ValueError, RecursionError) as error:
        raise DecodeError("$", f"expected JSON, or base64 of JSON: {str(error)[:120]}") from error


def members(value: object) -> Members | None:
    """An object's members by trimmed lower-case name, also where the object stands in a string; None for anything else.

    Of names that differ by blanks or case only, the first with a value wins. Key Vault's own documentation prints
    `"ObjectName "` (azure-facts 3.1), and the 2018 schema of resource events types objects as strings (azure-facts 3.4).
    """
    if isinstance(value, str):
        try:
            value = _loads(value)
        except (ValueError, RecursionError):
            return None
    if not isinstance(value, Mapping):
        return None
    found: dict[str, object] = {}
    for name, each in value.items():
        if isinstance(name, str) and found.get(key := name.strip().lower()) in (None, ""):
            found[key] = each
    return found


def members_of_base64(value: object) -> Members | None:
    """The members of an object that stands in base64 (CloudEvents' `data_base64`); None for anything else."""
    decoded = _from_base64(value) if isinstance(value, str) else None
    try:
        return None if decoded is None else members(_loads(decoded))
    except (ValueError, RecursionError):
        return None


def text(value: object) -> str | None:
    """A string without the blanks around it; None where it is blank or no string.

    Half of a surrogate pair, which JSON can spell and UTF-8 cannot, becomes `?`: it must not fail whoever stores the text.
    """
    if not isinstance(value, str):
        return None
    return value.strip().encode("utf-8", "replace").decode("utf-8") or None


def short(value: object) -> str | None:
    """A string as `text` gives it, cut after `MOST_CHARS`: for what is only kept and shown, and must not outgrow its entity."""
    found = text(value)
    return found if found is None else found[:MOST_CHARS]


def instant(value: object) -> datetime | None:
    """An RFC 3339 time in UTC, to the microsecond (further digits are cut off); None where it is none."""
    match = _INSTANT.fullmatch(text(value) or "")
    if match is None:
        return None
    micros = (match["fraction"] or "0")[:6]
    try:
        return datetime.fromisoformat(f"{match['second']}.{micros:0<6}{match['offset'].upper()}").astimezone(UTC)
    except (ValueError, OverflowError):  # the 30th of February; the first of January in the year 1 at +14:00
        return None


def fingerprint(event: object) -> str:
    """SHA-256 of the canonical JSON, hexadecimal: the same for a repeated delivery. Raises DecodeError where it is no JSON."""
    try:
        canonical = json.dumps(event, sort_keys=True, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise DecodeError("$", "expected JSON") from error
    return hashlib.sha256(canonical.encode()).hexdigest()


def _loads(payload: str | bytes) -> object:
    cleaned = payload.lstrip("\ufeff") if isinstance(payload, str) else payload
    value: object = json.loads(cleaned, parse_constant=_refuse)
    return value


def _refuse(constant: str) -> object:
    raise ValueError(f"`{constant}` is not JSON")


def _from_base64(payload: str | bytes) -> bytes | None:
    try:
        return base64.b64decode(payload.strip(), validate=True)
    except ValueError:
        return None
