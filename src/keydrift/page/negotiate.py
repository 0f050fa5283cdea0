"""JSON or HTML: what the caller of `GET /api/posture` prefers (RFC 9110, sections 12.4.2 and 12.5.1). Pure."""

from __future__ import annotations

import re

_JSON, _HTML = "application/json", "text/html"
_WEIGHT = re.compile(r"0(?:\.\d{0,3})?|1(?:\.0{0,3})?", re.ASCII)


class FormatError(ValueError):
    """A format was asked for that there is none of; the message is one line that says which there are."""


def prefers_html(accept: str | None, asked: str | None) -> bool:
    """Whether to answer with the page: `asked` is the query's `format`, and decides where it is there.

    Else `accept`, the request's `Accept`, does: JSON unless HTML is weighed higher. Raises FormatError.
    """
    match (asked or "").lower():
        case "html":
            return True
        case "json":
            return False
        case "":
            ranges = _ranges(accept or "")
            return _quality(_HTML, ranges) > _quality(_JSON, ranges)
        case _:
            raise FormatError(f"there is no format `{ascii((asked or '')[:40])[1:-1]}`: use json or html")


def _ranges(accept: str) -> dict[str, float]:
    """Media ranges with their weights; the first of several alike counts, one with a weight that is none does not."""
    ranges: dict[str, float] = {}
    for each in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in each.split(";"))
        weight = next((p[2:].strip() for p in parameters if p.startswith("q=")), "1")
        if kind and _WEIGHT.fullmatch(weight):
            ranges.setdefault(kind, float(weight))
    return ranges


def _quality(kind: str, ranges: dict[str, float]) -> float:
    """The weight of the most specific range that holds the media type."""
    for each in (kind, f"{kind.partition('/')[0]}/*", "*/*"):
        if each in ranges:
            return ranges[each]
    return 0.0
