"""A Bicep file as tests look at it: what it declares, what it passes on, and what it says without being run.

A reader, not a compiler: expressions stay unevaluated. tree-sitter-bicep gives the syntax.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import tree_sitter_bicep
from tree_sitter import Language, Node, Parser

INFRA = Path(__file__).resolve().parents[2] / "infra"

_PARSER = Parser(Language(tree_sitter_bicep.language()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter; `required` where it has no default and cannot be null."""

    name: str
    kind: str
    required: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """A resource or module: `reference` is its type with version, or its file. `body` is the object, whatever wraps it."""

    symbol: str
    reference: str
    existing: bool
    body: Node

    def member(self, *path: str) -> Node | None:
        """The value at a path of property names in the body."""
        found: Node | None = self.body
        for name in path:
            found = members(found).get(name) if found is not None else None
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """One file."""

    path: Path
    text: str
    root: Node
    parameters: Mapping[str, Parameter]
    variables: Mapping[str, Node]
    resources: tuple[Declared, ...]
    modules: tuple[Declared, ...]
    outputs: Mapping[str, Node]

    def module(self, symbol: str) -> Declared:
        """The module of that symbol."""
        return next(each for each in self.modules if each.symbol == symbol)

    def resource(self, symbol: str) -> Declared:
        """The resource of that symbol."""
        return next(each for each in self.resources if each.symbol == symbol)


def templates() -> list[Path]:
    """Every Bicep file there is."""
    return sorted(INFRA.rglob("*.bicep"))


def read(path: Path) -> Template:
    """Read a file, whether or not all of it parses."""
    return parse(path, path.read_bytes())


def parse(path: Path, source: bytes) -> Template:
    """Read a file's text; `path` is where modules are looked up from."""
    root = _PARSER.parse(source).root_node
    top = list(root.named_children)
    return Template(
        path=path,
        text=source.decode(),
        root=root,
        parameters={p.name: p for each in top if each.type == "parameter_declaration" for p in [_parameter(each)]},
        variables={_symbol(each): each.named_children[-1] for each in top if each.type == "variable_declaration"},
        resources=tuple(_declared(each) for each in top if each.type == "resource_declaration"),
        modules=tuple(_declared(each) for each in top if each.type == "module_declaration"),
        outputs={_symbol(each): each.named_children[-1] for each in top if each.type == "output_declaration"},
    )


def syntax_errors(template: Template) -> list[str]:
    """The places that do not parse, as `line: text`."""
    return [
        f"{node.start_point[0] + 1}: {text_of(node)[:40]}"
        for node in _walk(template.root)
        if node.type == "ERROR" or node.is_missing
    ]


def members(node: Node | None) -> dict[str, Node]:
    """The properties that an object names; empty for anything else."""
    found: dict[str, Node] = {}
    for each in node.named_children if node is not None and node.type == "object" else ():
        if each.type == "object_property":
            key, value = each.named_children[0], each.named_children[-1]
            found[(literal(key) or "") if key.type == "string" else text_of(key)] = value
    return found


def literal(node: Node | None) -> str | None:
    """The value of a string without interpolation."""
    if node is None or node.type != "string" or any(each.type == "interpolation" for each in node.named_children):
        return None
    return "".join(text_of(each) for each in node.named_children).replace("\\'", "'")


def text_of(node: Node) -> str:
    """The source text of a node."""
    assert node.text is not None
    return node.text.decode()


def used_names(template: Template) -> set[str]:
    """Every name that an expression looks up: identifiers that are neither declared nor a property's name."""
    return {text_of(node) for node in _walk(template.root) if node.type == "identifier" and not _is_a_name(node)}


def outputs_asked_for(template: Template) -> set[tuple[str, str]]:
    """The outputs of modules that expressions ask for: (module's symbol, output)."""
    return {(each[1], each[2]) for each in re.finditer(r"\b(\w+)(?:\[[^\]]*\])?\.outputs\.(\w+)", template.text)}


def _walk(node: Node) -> Iterator[Node]:
    yield node
    for each in node.children:
        yield from _walk(each)


def _is_a_name(node: Node) -> bool:
    parent = node.parent
    assert parent is not None
    declares = parent.type.endswith("_declaration") or parent.type == "object_property"
    return declares and parent.named_children[0] == node


def _symbol(declaration: Node) -> str:
    return text_of(next(each for each in declaration.named_children if each.type == "identifier"))


def _parameter(declaration: Node) -> Parameter:
    kind = next(each for each in declaration.named_children if each.type == "type")
    has_default = declaration.named_children[-1] != kind
    nullable = any(each.type == "nullable_type" for each in kind.named_children)
    return Parameter(name=_symbol(declaration), kind=text_of(kind), required=not has_default and not nullable)


def _declared(declaration: Node) -> Declared:
    reference = next(each for each in declaration.named_children if each.type == "string")
    body = declaration.named_children[-1]
    while body.type in ("for_statement", "if_statement", "parenthesized_expression"):
        body = body.named_children[-1]
    return Declared(
        symbol=_symbol(declaration),
        reference=literal(reference) or "",
        existing=any(each.type == "existing" or text_of(each) == "existing" for each in declaration.children),
        body=body,
    )
