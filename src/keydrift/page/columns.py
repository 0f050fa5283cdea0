"""The posture as the page carries it: by column, so that 5,000 key bindings stay small and are decoded only where shown. Pure.

Ids are what a posture mostly consists of. Side by side in one column they compress best, and what never differs is said once.
`page.js` is the only reader of this form; programs read the document itself (`?format=json`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import cast

from keydrift.catalogue import CODES

type Document = Mapping[str, object]

_SHAPE = ("kind", "role", "effect", "permissions", "reason")


def by_column(document: Document) -> dict[str, object]:
    """A posture or scan document (formats) whose `bindings` are replaced by `count`, `columns` and `proof_shapes`.

    A column holds one value for each key binding, null where it is empty or absent. Three columns stand for `proof`: each step's
    index in `proof_shapes`; its `scope`, 1 where that is the key store; its `id`, a list of one text where that follows the key
    store's id. `principal.identity` is 1 where it is the only consumer itself, in another letter case. A managed identity's app
    id is left out: nothing on the page says it.
    """
    shapes: dict[str, int] = {}
    rows = [_row(cast("Document", each), shapes) for each in cast("list[object]", document["bindings"])]
    names = dict.fromkeys(name for row in rows for name in row)
    return {
        **{name: value for name, value in document.items() if name != "bindings"},
        "titles": {code: each.title for code, each in CODES.items()},
        "count": len(rows),
        "columns": {name: [row.get(name) or None for row in rows] for name in names},
        "proof_shapes": [json.loads(each) for each in shapes],
    }


def _row(binding: Document, shapes: dict[str, int]) -> dict[str, object]:
    row = {name: value for name, value in binding.items() if name not in ("principal", "proof")}
    principal = cast("Document", binding.get("principal") or {})
    row |= {f"principal.{name}": value for name, value in principal.items()}
    if principal.get("kind") == "managed-identity":
        row["principal.app_id"] = None
    if [principal.get("identity")] == [str(each).lower() for each in cast("list[object]", binding.get("consumers") or [])]:
        row["principal.identity"] = 1
    steps = cast("list[Document]", binding.get("proof") or [])
    store = cast("str | None", binding.get("key_store_id"))
    row["proof.shape"] = [_shape(each, shapes) for each in steps]
    row["proof.scope"] = [1 if store and each.get("scope") == store else each.get("scope") for each in steps]
    row["proof.id"] = [_id(str(each.get("id") or ""), store) for each in steps]
    return row


def _shape(step: Document, shapes: dict[str, int]) -> int:
    return shapes.setdefault(json.dumps({name: step.get(name) for name in _SHAPE}), len(shapes))


def _id(text: str, store: str | None) -> str | list[str]:
    return [text.removeprefix(store)] if store and text.startswith(f"{store}/") else text
