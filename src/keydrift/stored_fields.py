"""The members of a stored document. Pure.

What is read back was written by this program, so a document that does not fit is a DecodeError: a defect or a foreign store.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import cast

from keydrift.errors import DecodeError
from keydrift.event_json import instant

type Document = Mapping[str, object]


def at_text(when: datetime | None) -> str | None:
    """A time as state keeps it."""
    return when.isoformat() if when else None


def time(value: object) -> datetime | None:
    """A time that may be missing."""
    if (found := instant(value)) is None and isinstance(value, str):
        raise DecodeError("$", f"expected a time with an offset in a stored document, got `{value}`")
    return found


def text(document: Document, name: str) -> str:
    """A string that has to be there."""
    value = document.get(name)
    if not isinstance(value, str):
        raise DecodeError(f"$.{name}", "expected a string in a stored document")
    return value


def maybe(document: Document, name: str) -> str | None:
    """A string, or None."""
    value = document.get(name)
    return value if isinstance(value, str) else None


def number(document: Document, name: str) -> float:
    """A number that has to be there."""
    value = document.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not -1e15 < value < 1e15:
        raise DecodeError(f"$.{name}", "expected a number in a stored document")
    return value


def times(document: Document, name: str) -> list[datetime]:
    """A list of times; none where there is no list."""
    value = document.get(name) or []
    found = [time(each) for each in value] if isinstance(value, list) else [None]
    if None in found:
        raise DecodeError(f"$.{name}", "expected a list of times in a stored document")
    return [each for each in found if each is not None]


def word[W: StrEnum](document: Document, name: str, words: type[W]) -> W:
    """One of some words."""
    value = text(document, name)
    try:
        return words(value)
    except ValueError as error:
        raise DecodeError(f"$.{name}", f"expected one of {', '.join(words)} in a stored document, got `{value}`") from error


def member(document: Document, name: str) -> Document | None:
    """An object, or None."""
    value = document.get(name)
    if value is not None and not isinstance(value, Mapping):
        raise DecodeError(f"$.{name}", "expected an object in a stored document")
    return cast("Document | None", value)


def documents(document: Document, name: str) -> list[Document]:
    """A list of objects."""
    value = document.get(name)
    if not isinstance(value, list) or not all(isinstance(each, Mapping) for each in value):
        raise DecodeError(f"$.{name}", "expected a list of objects in a stored document")
    return cast("list[Document]", value)


def texts(document: Document, name: str) -> frozenset[str]:
    """A set of strings; none where there is no list."""
    value = document.get(name) or []
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise DecodeError(f"$.{name}", "expected a list of strings in a stored document")
    return frozenset(cast("list[str]", value))
