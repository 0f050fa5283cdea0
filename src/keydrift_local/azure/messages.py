"""What a service is asked and what it answers, free of any web server."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import cast
from urllib.parse import quote, urlencode

from keydrift_local.documents import JsonObject, text


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request. `path` is decoded, without query; header names and option names are lower case."""

    method: str
    host: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @cached_property
    def options(self) -> dict[str, str]:
        """The query by lower-case name: Azure's clients spell `$skipToken` in several ways."""
        return {name.lower(): value for name, value in self.query.items()}

    @cached_property
    def segments(self) -> tuple[str, ...]:
        """The path's segments, lower case, empty ones dropped."""
        return tuple(each.lower() for each in self.parts)

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """The path's segments as spelled, empty ones dropped."""
        return tuple(each for each in self.path.split("/") if each)

    @cached_property
    def claims(self) -> JsonObject | None:
        """The bearer token's claims (never verified: the tokens are ours and unsigned); None without a readable token."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        pieces = token.split(".")
        if scheme.lower() != "bearer" or len(pieces) != 3:
            return None
        try:
            claims = json.loads(base64.urlsafe_b64decode(pieces[1] + "=" * (-len(pieces[1]) % 4)))
        except (binascii.Error, ValueError):
            return None
        return claims if isinstance(claims, dict) else None

    @property
    def audience(self) -> str:
        """The token's audience without a trailing slash; empty without a token."""
        return (text(self.claims, "aud") or "").rstrip("/").lower()

    def json(self) -> object:
        """The decoded body. Raises ValueError where it is no JSON."""
        return cast(object, json.loads(self.body))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One response; `body` is JSON (None: no content). Status 0 drops the connection without an answer."""

    status: int = 200
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)


def error(status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None, inner: object = None) -> Answer:
    """An error as ARM, Key Vault and Azure Monitor spell it: `{"error": {"code", "message"}}`."""
    body: JsonObject = {"code": code, "message": message}
    if inner is not None:
        body["innererror"] = inner
    return Answer(status=status, body={"error": body}, headers=headers or {})


def page[Item](
    call: Call,
    found: Sequence[Item],
    size: int,
    show: Callable[[Item], object],
    *,
    link: str = "nextLink",
    null_link: bool = False,
) -> Answer:
    """One page of a list, with the link to the next one where there is more. `$top` and `maxresults` make pages smaller.

    `show` gives the JSON of one item; only those on the page are shown.
    """
    asked = call.options.get("$top") or call.options.get("maxresults")
    token = call.options.get("$skiptoken", "0")
    if not token.isdigit() or (asked is not None and not asked.isdigit()):
        return error(400, "InvalidSkipToken", "The skip token or page size is not valid.")
    length = min(size, int(asked)) if asked and int(asked) else size
    start = int(token)
    body: JsonObject = {"value": [show(each) for each in found[start : start + length]]}
    if start + length < len(found):
        rest = {name: value for name, value in call.query.items() if name.lower() != "$skiptoken"}
        query = urlencode({**rest, "$skiptoken": str(start + length)}, safe="$", quote_via=quote)
        body[link] = f"https://{call.host}{quote(call.path, safe='/;=@,!*()')}?{query}"
    elif null_link:
        body[link] = None
    return Answer(body=body)
