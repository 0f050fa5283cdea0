"""What is kept of a payload that nobody could decode: enough to mend the reader, nothing of its sender's that was not asked for.

Events carry the caller's whole token claims (azure-facts 3.4). Four of them are documented as kept (docs/formats.md); a payload
that failed may hold all of them, so the others are taken out before it is stored. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from keydrift.errors import DecodeError
from keydrift.event_json import members, members_of_base64, parse

MOST_CHARS = 20_000
CLAIMS = frozenset(
    {
        "http://schemas.microsoft.com/identity/claims/objectidentifier",
        "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn",
        "name",
        "appid",
        "ipaddr",
    }
)
# Claims, the evidence of a grant, the signature of an address
_PRIVATE = re.compile(r"claims|evidence|\bsig=", re.IGNORECASE)
# A JSON Web Token (RFC 7519: three parts in base64url, of which the first begins with `{"`), or whatever follows `Bearer`
_TOKEN = re.compile(r"eyJ[\w-]{6,}(\.[\w-]*){0,2}|\bBearer\s+[\w.~+/=-]{8,}", re.ASCII | re.IGNORECASE)


def kept(payload: str) -> str:
    """A payload, cut after `MOST_CHARS` characters, without tokens, queries of addresses, and claims but the documented ones.

    As it was spelled, where nothing is taken out. Text that is no JSON ends where it begins to speak of them.
    """
    try:
        document = parse(payload)
        cleaned = _cleaned(document)
        text = payload if cleaned == document else json.dumps(cleaned)
    except (DecodeError, RecursionError):
        found = _PRIVATE.search(payload)
        text = payload if found is None else f"{payload[: found.start()]}… cut where claims may begin"
    # Cut first: half a token at the end is one that no pattern needs to know whole
    return _TOKEN.sub("[token]", text[:MOST_CHARS])


def _cleaned(value: object) -> object:
    match value:
        case Mapping():
            return {name: _member(str(name).strip().lower(), each) for name, each in value.items()}
        case list():
            return [_cleaned(each) for each in value]
        case str() if _PRIVATE.search(value) and (inner := members(value)) is not None:
            return _cleaned(inner)  # an object in a string, as the schema of 2018 types them
        case str() if _PRIVATE.search(value) and len(value) > 200:
            return "[cut: speaks of claims]"
        case _:
            return value


def _member(name: str, value: object) -> object:
    if name == "claims":
        found = members(value) or {}
        return {claim: each for claim, each in found.items() if claim in CLAIMS and isinstance(each, str)}
    if name == "evidence":
        return None  # which of the caller's grants allowed it
    if name in ("url", "uri") and isinstance(value, str):
        return value.partition("?")[0]  # a query may carry a signature or a code
    if name == "data_base64" and isinstance(value, str) and (inner := members_of_base64(value)) is not None:
        return _cleaned(inner)
    return _cleaned(value)
