"""Data-action patterns: wildcards, letter case, literal signs, and what a block takes out again."""

from __future__ import annotations

import pytest

from keydrift.access.actions import allowed_by, given_by, matches
from support.builders import block

READ = "Microsoft.KeyVault/vaults/keys/read"
WRAP = "Microsoft.KeyVault/vaults/keys/wrap/action"


@pytest.mark.parametrize(
    ("pattern", "action", "expected"),
    [
        (READ, READ, True),
        (READ.upper(), READ, True),
        (READ, READ.upper(), True),
        (f" {READ} ", READ, True),
        ("*", READ, True),
        ("Microsoft.KeyVault/*", READ, True),
        ("Microsoft.KeyVault/vaults/*", WRAP, True),
        ("Microsoft.KeyVault/vaults/keys/*", WRAP, True),
        ("Microsoft.KeyVault/vaults/keys/*/action", WRAP, True),
        ("Microsoft.KeyVault/*/wrap/action", WRAP, True),
        ("*/wrap/action", WRAP, True),
        ("Microsoft.KeyVault/vaults/keys/*ap/action", WRAP, True),
        ("Microsoft.KeyVault/vaults/keys/wrap/action*", WRAP, True),
        ("*/*/wrap/*", WRAP, True),
        ("", READ, False),
        ("Microsoft.KeyVault/vaults/keys/rea", READ, False),
        ("icrosoft.KeyVault/vaults/keys/read", READ, False),
        ("Microsoft.KeyVault/vaults/keys/read/", READ, False),
        ("Microsoft.KeyVault/vaults/keys/*/action", READ, False),
        ("Microsoft.KeyVault/vaults/keys/wrap", WRAP, False),
        ("Microsoft.KeyVault/vaults/*/wrap/action", "Microsoft.KeyVault/vaults/keys/unwrap/action", False),
        ("*/wrap/action", "Microsoft.KeyVault/vaults/keys/unwrap/action", False),
        ("Microsoft.KeyVault/managedHsm/*", READ, False),
        ("MicrosoftXKeyVault/vaults/keys/read", READ, False),
        ("Microsoft.KeyVault/vaults/keys/rea?", READ, False),
        ("Microsoft.KeyVault/vaults/keys/rea.", READ, False),
        ("Microsoft.KeyVault/vaults/keys/.*", READ, False),
        ("Microsoft.KeyVault/vaults/keys/[r]ead", READ, False),
        ("*/read", READ, True),
        ("*/Read\n", READ, True),
    ],
)
def test_pattern(pattern: str, action: str, expected: bool) -> None:
    """A pattern covers an action by `*` alone, whatever the letter case, and over its whole length."""
    assert matches(pattern, action) is expected


def test_the_dot_of_a_pattern_is_literal() -> None:
    """A dot in a pattern stands for a dot only."""
    assert not matches("Microsoft.KeyVault/vaults/keys/read", "MicrosoftXKeyVault/vaults/keys/read")


@pytest.mark.parametrize(
    ("gives", "without", "expected"),
    [
        ((READ,), (), True),
        (("*",), (READ,), False),
        (("*",), ("Microsoft.KeyVault/vaults/keys/*",), False),
        (("*",), (READ.upper(),), False),
        (("*",), (WRAP,), True),
        ((READ,), ("Microsoft.KeyVault/vaults/secrets/*",), True),
        ((), (), False),
        ((), ("*",), False),
        ((WRAP,), (), False),
        ((WRAP, READ), (), True),
    ],
)
def test_block(gives: tuple[str, ...], without: tuple[str, ...], expected: bool) -> None:
    """A block gives its data actions less its own `notDataActions`."""
    assert allowed_by(block(*gives, without=without), READ) is expected


def test_each_block_subtracts_on_its_own() -> None:
    """What one block takes out another may still give."""
    narrow, wide = block("*", without=(READ,)), block(READ)
    assert given_by((narrow, wide), READ) == (wide,)
    assert given_by((narrow,), READ) == ()
    assert given_by((narrow, wide), WRAP) == (narrow,)
