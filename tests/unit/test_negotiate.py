"""JSON or HTML, by `Accept` and by `format`."""

from __future__ import annotations

import json

import pytest

from keydrift.page.answer import Answer, answered, wanted_html
from keydrift.page.negotiate import prefers_html
from support.postures import mixed, posture

CHROME = (
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7"
)


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        (None, False),
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("text/html", True),
        ("TEXT/HTML", True),
        (CHROME, True),
        ("text/html, application/json", False),
        ("text/html;q=0.9, application/json;q=0.8", True),
        ("text/html;q=0.8, application/json;q=0.9", False),
        ("text/html;q=0.5, */*;q=0.4", True),
        ("text/html;q=0.4, */*;q=0.5", False),
        ("text/*;q=0.3, application/*;q=0.2", True),
        ("text/*;q=0.9, text/html;q=0, application/json;q=0.1", False),
        ("text/html;q=0", False),
        ("text/html;level=1;q=0.7, application/json;q=0.6", True),
        ("text/html ; q=0.7 , application/json ; q=0.6", True),
        ("text/html;q=2", False),
        ("text/html;q=abc", False),
        ("text/html;q=0.5555", False),
        ("text/html;q=", False),
        ("text/html;q=0.2, text/html;q=0.9, application/json;q=0.5", False),
        ("application/xhtml+xml", False),
        ("text/htmlx", False),
        (",,;q=1,", False),
    ],
)
def test_html_only_where_it_is_preferred(accept: str | None, html: bool) -> None:
    """JSON is answered unless HTML weighs more, by the most specific range that holds each; no weight, no range."""
    assert prefers_html(accept, None) is html


@pytest.mark.parametrize(("asked", "html"), [("html", True), ("HTML", True), ("json", False), ("", True), (None, True)])
def test_the_query_decides_where_it_says_something(asked: str | None, html: bool) -> None:
    """`format` decides whatever `Accept` says."""
    assert prefers_html("text/html", asked) is html
    if asked:
        assert prefers_html("application/json", asked) is html


def test_another_format_is_refused_in_one_line() -> None:
    """A format that there is none of is answered with 400 and what there is, before anything is read."""
    refusal = wanted_html("text/html", "x\n\u202e" + "x" * 500 + "ml")
    assert isinstance(refusal, Answer)
    assert (refusal.status, refusal.mimetype, refusal.body.count("\n")) == (400, "text/plain", 1)
    assert "use json or html" in refusal.body
    assert len(refusal.body) < 100
    assert refusal.body.isascii()


def test_json_stays_what_it_was() -> None:
    """The JSON answer is the document itself; neither answer may be kept, sniffed or framed, and caches tell them apart."""
    document = posture(mixed())
    plain, page = answered(document, html=False), answered(document, html=True)
    assert (plain.status, plain.mimetype, json.loads(plain.body)) == (200, "application/json", document)
    assert (page.status, page.mimetype, page.body[:15]) == (200, "text/html", "<!doctype html>")
    for each in (plain, page):
        assert each.headers["Vary"] == "Accept"
        assert each.headers["Cache-Control"] == "no-store"
        assert each.headers["X-Content-Type-Options"] == "nosniff"
        assert each.headers["Referrer-Policy"] == "no-referrer"
        assert "Content-Encoding" not in each.headers
    assert page.headers["Content-Security-Policy"].endswith("frame-ancestors 'none'")
