"""The architecture, as the source shows it: dependencies point inward, and nothing grows too long."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src"

# Written down here rather than derived: a new module has to be placed
NOUNS = {"errors", "resource_id", "key_uri", "facts", "model"}
PURE = NOUNS | {
    "bulk", "bulk.listing", "catalogue", "declared", "doctor.event_coverage", "doctor.facts", "document", "drift", "event_json",
    "events", "health", "inventory", "judgement", "kept_payload", "ocsf", "page", "page.columns", "page.negotiate", "posture",
    "recheck", "requirement", "rest", "restraint", "sarif", "schedule", "settings", "store_record", "stored", "stored_fields",
    "stored_record", "vital_signs", "watchlist", "watchlist_change",
}  # fmt: skip
STRAIGHT_PATH = {
    "ports", "outbox", "state", "collect", "dead_letters", "delivery", "discovery", "reconcile", "monitor", "pulse", "scan",
    "sweep", "bulk.collector", "bulk.lists", "bulk.lists_as_ports",
}  # fmt: skip
COMPOSING = {"bootstrap", "reading", "storage"}
MODULES = sorted((SOURCE / "keydrift").rglob("*.py"))


def layer(name: str) -> str:
    """The layer of a dotted module name below `keydrift`."""
    head = name.partition(".")[0]
    if not name or head in ("access", "alerts") or name in PURE:
        return "noun" if name in NOUNS else "pure"
    if head == "adapters":
        return "adapter"
    return "path" if name in STRAIGHT_PATH else "outside"


def dotted(path: Path) -> str:
    """A module's dotted name below `keydrift`; empty for the package itself."""
    relative = path.relative_to(SOURCE / "keydrift").with_suffix("")
    return ".".join(part for part in relative.parts if part != "__init__")


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Every absolute module name that a module imports, and whether only inside a function."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    lazy = {
        id(inner)
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(outer)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in lazy) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: imports are absolute"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                is_module = (SOURCE / whole.replace(".", "/")).with_suffix(".py").exists()
                yield whole if is_module else str(node.module), id(node) in lazy


def own(name: str) -> str | None:
    """The name below `keydrift`, or None for somebody else's module."""
    return name.removeprefix("keydrift").lstrip(".") if name.partition(".")[0] == "keydrift" else None


ALLOWED = {"noun": {"noun"}, "pure": {"noun", "pure"}, "path": {"noun", "pure", "path"}}


def test_the_layers_name_modules_that_exist() -> None:
    """Every module that a layer names is there."""
    assert {dotted(path) for path in MODULES} >= PURE | STRAIGHT_PATH


@pytest.mark.parametrize("path", [p for p in MODULES if layer(dotted(p)) in ALLOWED], ids=dotted)
def test_dependencies_point_inward(path: Path) -> None:
    """Nouns import nouns, pure modules pure ones, the straight path no adapter; all of them only the standard library besides."""
    mine = layer(dotted(path))
    for name, _ in imports(path):
        below = own(name)
        if below is None:
            assert name.partition(".")[0] in sys.stdlib_module_names, f"{dotted(path)} imports {name}"
        else:
            assert layer(below) in ALLOWED[mine], f"{dotted(path)} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_only_bootstrap_and_adapters_know_adapters(path: Path) -> None:
    """Adapters are composed in one place, and they never reach up to what composes them."""
    mine = dotted(path)
    for name, _ in imports(path):
        below = own(name)
        if below is not None and layer(below) == "adapter":
            assert mine in COMPOSING or layer(mine) == "adapter", f"{mine} imports {name}"
        if below is not None and layer(mine) == "adapter":
            assert layer(below) in ("noun", "pure", "adapter") or below == "ports", f"{mine} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_the_product_needs_no_laptop(path: Path) -> None:
    """Only the command line imports what stands in for Azure, and only inside a function; azure.functions is the triggers'."""
    for name, lazy in imports(path):
        assert not name.startswith("azure.functions"), f"{dotted(path)} imports {name}"
        if name.partition(".")[0] == "keydrift_local":
            assert dotted(path) == "cli", f"{dotted(path)} imports {name}"
            assert lazy, f"cli imports {name} at its top"


def test_the_triggers_import_the_composition_only() -> None:
    """`function_app.py` knows azure.functions and bootstrap, and is short."""
    path = ROOT / "function_app.py"
    names = {name for name, _ in imports(path)}
    assert any(name.startswith("azure.functions") for name in names)
    assert {name for name in names if own(name) is not None} == {"keydrift.bootstrap"}
    assert len(path.read_text(encoding="utf-8").splitlines()) < 80


@pytest.mark.parametrize("path", [*sorted(SOURCE.rglob("*.py")), ROOT / "function_app.py"], ids=lambda p: p.stem)
def test_nothing_grows_too_long(path: Path) -> None:
    """A module has at most 350 lines, a function at most 70."""
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 350
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < 70, f"{path.name}: {node.name}"
