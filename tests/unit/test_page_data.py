"""The page's data: by column and whole, and harmless wherever a browser reads it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any

import pytest

from keydrift.catalogue import CODES
from keydrift.model import Scenario, State
from keydrift.page.columns import by_column
from keydrift.page.render import page, policy
from support.postures import mixed, posture, verdict

_DATA = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)


def data_of(html: str) -> dict[str, Any]:
    """What the page embeds."""
    (found,) = _DATA.findall(html)
    read: dict[str, Any] = json.loads(found)
    return read


def restored(data: dict[str, Any], number: int) -> dict[str, Any]:
    """A key binding as `page.js` reads it back."""
    row = {name: values[number] for name, values in data["columns"].items()}
    store = row["key_store_id"]
    steps = [
        {**data["proof_shapes"][shape], "scope": store if scope == 1 else scope, "id": store + i[0] if isinstance(i, list) else i}
        for shape, scope, i in zip(row["proof.shape"] or [], row["proof.scope"] or [], row["proof.id"] or [], strict=True)
    ]
    identity = row["principal.identity"]
    return {**row, "proof": steps, "principal.identity": row["consumers"][0].lower() if identity == 1 else identity}


def test_nothing_is_lost_by_column() -> None:
    """Every member of every key binding is read back from its column, but for what is empty and a managed identity's app id."""
    verdicts = [*mixed(), verdict(State.LOST, 20, Scenario.CVM_DES), verdict(State.HELD, 21, proof=())]
    document = posture(verdicts, history=[{"at": "x"}], since="y")
    document["bindings"][3]["proof"].append({**document["bindings"][3]["proof"][0], "id": "guid", "scope": "/keys/k1"})
    data = by_column(document)
    for number, expected in enumerate(document["bindings"]):
        found = restored(data, number)
        for name in set(expected) - {"principal", "proof"}:
            assert found[name] == (expected[name] or None), name
        assert found["proof"] == expected["proof"]
        kind = expected["principal"]["kind"]
        for name in set(expected["principal"]) - {"app_id"}:
            assert found[f"principal.{name}"] == expected["principal"][name], name
        assert (found["principal.app_id"] is None) == (kind == "managed-identity")


def test_a_scope_that_only_begins_like_the_store_is_kept() -> None:
    """`kv1` is no part of `kv10`: an id there is not shortened."""
    document = posture([verdict(State.HELD, 1)])
    store = document["bindings"][0]["key_store_id"]
    document["bindings"][0]["proof"][0] |= {"id": f"{store}0/providers/x", "scope": f"{store}0"}
    data: dict[str, Any] = by_column(document)
    assert data["columns"]["proof.id"] == [[f"{store}0/providers/x"]]
    assert data["columns"]["proof.scope"] == [[f"{store}0"]]


def test_an_empty_document_has_no_columns() -> None:
    """Without key bindings there are no columns, and every other member stands."""
    data = by_column(posture([], unread=[{"source": "x"}]))
    assert (data["count"], data["columns"], data["unread"], data["source"]) == (0, {}, [{"source": "x"}], "monitor")


def test_every_code_has_its_title() -> None:
    """The page knows the title of every code of the catalogue."""
    assert by_column(posture([]))["titles"] == {code: each.title for code, each in CODES.items()}


@pytest.mark.parametrize(
    "hostile",
    ["</script>", "<!--", "<script>", "]]>", "&lt;", "\u2028\u2029", "\ud800", "\x00", "$data ${x} $$", "\\u003c", "{{ x }}"],
)
def test_data_stays_data(hostile: str) -> None:
    """Whatever stands in it, the data has no character that a browser would act on, and reads back the same."""
    document = posture([verdict(State.LOST, 1)], unread=[{"source": hostile, hostile: hostile}])
    html = page(document)
    assert data_of(html)["unread"] == document["unread"]
    (embedded,) = _DATA.findall(html)
    assert not set(embedded) & set("<>&\u2028\u2029\x00")
    assert embedded.isascii()
    assert html.count("</script>") == 2


def test_the_policy_names_what_stands_in_the_page() -> None:
    """The policy's hashes are those of the style and the script in the page, and it lets in nothing else."""
    html = page(posture([]))
    allowed = set(re.findall(r"'(sha256-[^']+)'", policy()))
    inline = re.findall(r"<style>(.*?)</style>|<script>(.*?)</script>", html, re.DOTALL)
    hashes = {"sha256-" + base64.b64encode(hashlib.sha256((a or b).encode()).digest()).decode() for a, b in inline}
    assert len(inline) == 2
    assert allowed == hashes
    assert "unsafe" not in policy()
    assert policy().startswith("default-src 'none'; ")
    assert f'content="{policy()}"' in html


def test_the_page_asks_for_nothing() -> None:
    """The page names no address to load from: every `src`, `href`, `url(` and `@import` is its own."""
    html = _DATA.sub("", page(posture(mixed())))
    assert re.findall(r'(?:src|href)="(?!#|data:)[^"]*"', html) == []
    assert re.findall(r"url\(|@import", html) == []
    assert re.findall(r"https?://[^\s\"']*", html) == ["http://www.w3.org/2000/svg"]


def test_the_script_writes_no_markup() -> None:
    """`page.js` has no way to make markup of text."""
    script = re.findall(r"<script>(.*?)</script>", page(posture([])), re.DOTALL)[0]
    assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|Function\(|DOMParser", script) == []
