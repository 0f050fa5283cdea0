"""What the published resource types say of a resource's literal body: members that are unknown, missing or not for writing.

Values that only a deployment knows are passed over. The type data is Azure's (`types.json` of Azure/bicep-types-az).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tree_sitter import Node

from support.bicep import Declared, Template, literal, members

_REQUIRED, _READ_ONLY = 1, 2
# Members of the language, not of the type
_LANGUAGE = {"scope", "parent", "dependsOn"}


@dataclass(frozen=True, slots=True)
class _Type:
    """A type within its file, where references are indexes."""

    file: list[dict[str, Any]]
    body: dict[str, Any]

    def at(self, reference: dict[str, str]) -> _Type:
        return _Type(self.file, self.file[int(reference["$ref"].rpartition("/")[2])])


class ResourceTypes:
    """Every resource type below a folder, by name and version."""

    def __init__(self, folder: Path) -> None:
        self._types: dict[str, _Type] = {}
        for path in sorted(folder.rglob("types.json")):
            file = json.loads(path.read_text(encoding="utf-8"))
            self._types |= {each["name"].lower(): _Type(file, each) for each in file if each["$type"] == "ResourceType"}

    def wrong(self, template: Template) -> list[str]:
        """What is wrong with a template's resources, a line each."""
        return [each for resource in template.resources for each in self._resource(template, resource)]

    def _resource(self, template: Template, resource: Declared) -> Iterator[str]:
        known = self._types.get(resource.reference.lower())
        if known is None:
            yield f"{resource.symbol}: no type {resource.reference}"
        elif not resource.existing:
            body = known.at(known.body["body"])
            yield from _value(template, resource.symbol, resource.body, body, _LANGUAGE)


def _value(template: Template, where: str, node: Node, kind: _Type, extra: set[str] | None = None) -> Iterator[str]:
    if node.type == "identifier" and (found := template.variables.get((node.text or b"").decode())) is not None:
        node = found
    word = kind.body["$type"]
    if word == "ObjectType" and node.type == "object":
        yield from _object(template, where, node, kind, kind.body, extra or set())
    elif word == "DiscriminatedObjectType" and node.type == "object":
        chosen = literal(members(node).get(kind.body["discriminator"]))
        if chosen not in kind.body["elements"]:
            yield f"{where}: {kind.body['discriminator']} `{chosen}` is none of {', '.join(kind.body['elements'])}"
            return
        element = kind.at(kind.body["elements"][chosen]).body
        both = {**element, "properties": {**kind.body["baseProperties"], **element["properties"]}}
        yield from _object(template, where, node, kind, both, extra or set())
    elif word == "ArrayType" and node.type == "array":
        for index, each in enumerate(node.named_children):
            yield from _value(template, f"{where}[{index}]", each, kind.at(kind.body["itemType"]))
    elif word == "UnionType" and (text := literal(node)) is not None:
        allowed = [kind.at(each).body for each in kind.body["elements"]]
        if all(each["$type"] == "StringLiteralType" and each["value"] != text for each in allowed):
            yield f"{where}: `{text}` is none of {', '.join(each['value'] for each in allowed)}"


def _object(template: Template, where: str, node: Node, kind: _Type, body: dict[str, Any], extra: set[str]) -> Iterator[str]:
    given = members(node)
    for name, each in body["properties"].items():
        if each["flags"] & _REQUIRED and name not in given:
            yield f"{where}: {name} is missing"
    for name, value in given.items():
        if (each := body["properties"].get(name)) is None:
            if name not in extra and "additionalProperties" not in body:
                yield f"{where}: no member {name}"
        elif each["flags"] & _READ_ONLY:
            yield f"{where}: {name} is not for writing"
        else:
            yield from _value(template, f"{where}.{name}", value, kind.at(each["type"]))
