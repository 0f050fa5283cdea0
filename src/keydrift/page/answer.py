"""What `GET /api/posture` answers: the posture as JSON or as the page, with the headers that go with each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from keydrift.page.negotiate import FormatError, prefers_html
from keydrift.page.render import page, policy

# Compressing is left to the platform (docs/page.md): no `Content-Encoding` here
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",  # the address may carry a function key
    "Vary": "Accept",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer, whichever framework sends it."""

    status: int
    body: str
    mimetype: str
    headers: Mapping[str, str]


def wanted_html(accept: str | None, asked: str | None) -> bool | Answer:
    """Whether the page is wanted, or the refusal of a format that there is none of: decided before anything is read."""
    try:
        return prefers_html(accept, asked)
    except FormatError as error:
        return Answer(status=400, body=f"{error}\n", mimetype="text/plain", headers=_HEADERS)


def answered(document: Mapping[str, object], *, html: bool) -> Answer:
    """The posture as the page, or as JSON."""
    if not html:
        return Answer(status=200, body=json.dumps(document), mimetype="application/json", headers=_HEADERS)
    # A frame's ancestors can be refused by a header only, not by the page's own meta element
    headers = {**_HEADERS, "Content-Security-Policy": f"{policy()}; frame-ancestors 'none'"}
    return Answer(status=200, body=page(document), mimetype="text/html", headers=headers)
