"""The page's HTML: four files of this package made one, with the posture embedded as data.

Nothing that came from Azure is ever markup here. There is one place for data, it takes JSON, and every character of it that HTML
or JavaScript could mistake is escaped; `page.js` puts it on the page as text alone. Hence no template engine: there is nothing
to escape by context, and a cold start has nothing to import.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from string import Template

from keydrift.page.columns import by_column

_FILES = Path(__file__).parent
# `\u2028` and `\u2029` end a line in old JavaScript; `json.dumps` escapes them with everything else that is not ASCII
_ESCAPED = {ord(each): f"\\u{ord(each):04x}" for each in "<>&"}


def page(document: Mapping[str, object]) -> str:
    """The HTML document for a posture or scan document (formats)."""
    data = json.dumps(by_column(document), separators=(",", ":"), allow_nan=False).translate(_ESCAPED)
    return _template().substitute(style=_text("page.css"), script=_text("page.js"), policy=policy(), data=data)


def policy() -> str:
    """The Content-Security-Policy: the page's own style and script, by hash, and nothing else at all."""
    return "; ".join(
        (
            "default-src 'none'",
            f"style-src '{_hash('page.css')}'",
            f"script-src '{_hash('page.js')}'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


@cache
def _text(name: str) -> str:
    return (_FILES / name).read_text(encoding="utf-8")


@cache
def _template() -> Template:
    return Template(_text("page.html"))


@cache
def _hash(name: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(_text(name).encode()).digest()).decode()}"
