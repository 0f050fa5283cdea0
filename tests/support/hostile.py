"""Strings and JSON that somebody made to break a reader, and a mutator that puts them into documents that are otherwise real."""

from __future__ import annotations

import json
import random

# What breaks parsers, stores, terminals, queries and pages; each is as short as it can be and still be hostile
STRINGS: tuple[str, ...] = (
    "",
    " ",
    "\x00",
    "a\x00b",
    "\ud800",
    "\udfff\ud800",
    "\u202egnp.exe",
    "\ufeff",
    "\u2028",
    "e\u0301" * 8,
    "\r\nHost: evil.example",
    "..",
    "../../x",
    "%2e%2e%2f",
    "\\..\\x",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' or 1 == 1 //",
    "| union (KeyDriftAlerts_CL)",
    "{{7*7}}",
    "{0.__class__}",
    "%s%n",
    "$(id)",
    "`id`",
    "[red]x[/red]",
    "\x1b[2J",
    "NaN",
    "1e400",
    "-0",
    "9" * 5_000,
    "A" * 70_000,
    "\u00e9" * 30_000,
    "https://evil.example/",
    "https://kv1.vault.azure.net.evil.example/keys/k1",
    "https://hsm1.managedhsm.azure.net@evil.example/keys/k1",
    "//evil.example/x",
    "/subscriptions/../providers",
    "/subscriptions/s/resourceGroups/g/providers/Microsoft.KeyVault/vaults/" + "v" * 5_000,
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "2026-02-30T00:00:00Z",
    "2026-01-01T00:00:00",
)
VALUES: tuple[object, ...] = (
    None, True, False, 0, -1, 2**63, 10**400, 1.5, 1e308, -1e308, float("nan"), float("inf"), [], {}, [[]], [None], {"": None},
    {"value": {}}, *STRINGS,
)  # fmt: skip
_DEEPEST = 900


def mutated(document: object, dice: random.Random) -> object:
    """A copy of a document with one to four places changed: another value, a member gone, renamed or doubled, deep nesting."""
    for _ in range(dice.randint(1, 4)):
        document = _changed(document, dice)
    return document


def spelled(document: object, dice: random.Random) -> str:
    """A document as JSON text, now and then with a member twice, cut off, or wrapped in nesting."""
    try:
        text = json.dumps(document, ensure_ascii=dice.random() < 0.5)
    except (RecursionError, ValueError):
        text = "{}"
    match dice.randrange(12):
        case 0:
            return text[: dice.randrange(len(text) + 1)]
        case 1:
            return text.replace("{", '{"id":"twice",', 1)
        case 2:
            return "[" * dice.choice((2, 50, 5_000)) + text
        case 3:
            return text.replace('"', "'", dice.randint(1, 3))
        case _:
            return text


def _changed(document: object, dice: random.Random) -> object:
    if isinstance(document, dict) and document and dice.random() < 0.9:
        copy = dict(document)
        name = dice.choice(list(copy))
        match dice.randrange(10):
            case 0:
                del copy[name]
            case 1:
                copy[dice.choice(STRINGS)] = copy.pop(name)
            case 2:
                copy[name.upper() if isinstance(name, str) else "x"] = copy[name]
            case _:
                copy[name] = _changed(copy[name], dice)
        return copy
    if isinstance(document, list) and document and dice.random() < 0.9:
        items = list(document)
        place = dice.randrange(len(items))
        if dice.random() < 0.1:
            return items * 3
        items[place] = _changed(items[place], dice)
        return items
    if isinstance(document, str) and document and dice.random() < 0.5:
        place = dice.randrange(len(document) + 1)
        return document[:place] + dice.choice(STRINGS)[:300] + document[place:]
    if dice.random() < 0.03:
        nested: object = "x"
        for _ in range(dice.choice((10, _DEEPEST))):
            nested = [nested] if dice.random() < 0.5 else {"a": nested}
        return nested
    return dice.choice(VALUES)
