"""Every read that may be refused says which role or permission would repair it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ADAPTERS = sorted((Path(__file__).resolve().parents[2] / "src" / "keydrift" / "adapters").glob("*.py"))
RIGHT = re.compile(r"Reader|/read\b|\.Read\.All|Managed HSM Crypto Auditor|role assignment|READER|_REPAIR")
# Names that hand on what a caller named, whose own literal is checked where it stands
HANDED_ON = {"repair", "remedy", "self._hint", "repair or self._hint", "_SIGN_IN", "right"}
# What no right repairs: a broken path, an unknown shape, a host or key store that is not there, a missing sign-in or licence
NO_RIGHT = (
    "nothing: ",
    "check the network path",
    "report this",
    "check the managed identity",
    "name a Managed HSM",
    "check that the Managed HSM",
)


def repairs() -> Iterator[tuple[str, str]]:
    for path in ADAPTERS:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "repair":
                yield f"{path.stem}:{node.value.lineno}", ast.unparse(node.value)


@pytest.mark.parametrize(("where", "repair"), list(repairs()))
def test_a_repair_names_a_role_or_permission(where: str, repair: str) -> None:
    """A repair names a role or permission, or says that none would help."""
    plain = repair.removeprefix("f").strip("'\"")
    assert RIGHT.search(repair) or repair in HANDED_ON or plain.startswith(NO_RIGHT), f"{where}: {repair}"


def test_there_are_repairs() -> None:
    """The inspection sees the adapters' reads."""
    assert len(list(repairs())) > 15
