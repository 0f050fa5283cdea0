"""Reading Azure's JSON: typed access to a document by path. Wire spelling dies here; unknown members are ignored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from keydrift.errors import DecodeError
from keydrift.key_uri import KeyUri
from keydrift.resource_id import ResourceId, shown

# What JSON is decoded to comes first: an abstract class is slow to ask
_OBJECT = (dict, Mapping)


@dataclass(frozen=True, slots=True)
class Node:
    """A value in a JSON document and the path that leads to it. Null and absent are the same: ARM sends either."""

    value: object
    path: str = "$"

    def __getitem__(self, name: str) -> Node:
        """The member of that name; ARM's member names compare exactly. Null has no members, other values are an error."""
        if self.value is None:
            return Node(None, f"{self.path}.{name}")
        if not isinstance(self.value, _OBJECT):
            raise DecodeError(self.path, f"expected an object, got {_kind(self.value)}")
        return Node(self.value.get(name), f"{self.path}.{name}")

    def __iter__(self) -> Iterator[Node]:
        """The items of a list; none where it is absent."""
        if self.value is None:
            return
        if not isinstance(self.value, list):
            raise DecodeError(self.path, f"expected a list, got {_kind(self.value)}")
        for index, item in enumerate(self.value):
            yield Node(item, f"{self.path}[{index}]")

    def members(self) -> Iterator[tuple[str, Node]]:
        """The members of an object; none where it is absent."""
        if self.value is None:
            return
        if not isinstance(self.value, _OBJECT):
            raise DecodeError(self.path, f"expected an object, got {_kind(self.value)}")
        for name, value in self.value.items():
            yield str(name), Node(value, f"{self.path}.{name}")

    @property
    def present(self) -> bool:
        """Whether there is a value other than null."""
        return self.value is not None

    def needed(self) -> Node:
        """This value, which has to be there: what is not told must not be taken for its default."""
        if self.value is None:
            raise DecodeError(self.path, "expected a value, got nothing")
        return self

    def text(self) -> str | None:
        """A string, or None where absent."""
        if self.value is None:
            return None
        if isinstance(self.value, str):
            # JSON can spell half of a surrogate pair, which no store and no address can hold
            return self.value if self.value.isascii() else self.value.encode("utf-8", "replace").decode("utf-8")
        raise DecodeError(self.path, f"expected a string, got {_kind(self.value)}")

    def required(self) -> str:
        """A string that has to be there."""
        found = self.text()
        if not found:
            raise DecodeError(self.path, "expected a string, got nothing")
        return found

    def lower(self) -> str | None:
        """A string in lower case, for ids and words that compare case-insensitively."""
        found = self.text()
        return found.lower() if found is not None else None

    def flag(self) -> bool:
        """A boolean; absent is False. Azure's older bodies write booleans as strings too."""
        match self.value:
            case bool():
                return self.value
            case None:
                return False
            case str() if self.value.lower() in ("true", "false"):
                return self.value.lower() == "true"
            case _:
                raise DecodeError(self.path, f"expected true or false, got {_kind(self.value)}")

    def number(self) -> int | None:
        """A whole number, or None where absent."""
        match self.value:
            case bool():
                raise DecodeError(self.path, "expected a number, got a boolean")
            case int() | None:
                return self.value
            case float() if self.value.is_integer():
                return int(self.value)
            case _:
                raise DecodeError(self.path, f"expected a whole number, got {_kind(self.value)}")

    def epoch(self) -> datetime | None:
        """A time in epoch seconds, as Key Vault's attributes carry it."""
        seconds = self.number()
        try:
            return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
        except (OverflowError, OSError, ValueError) as error:
            raise DecodeError(self.path, "expected epoch seconds") from error

    def time(self) -> datetime | None:
        """A time in ISO 8601; one without an offset is UTC."""
        found = self.text()
        if not found:
            return None
        try:
            parsed = datetime.fromisoformat(found)
            return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
        except (ValueError, OverflowError) as error:  # a day before the year 1 at +14:00 has no UTC
            raise DecodeError(self.path, f"expected a time, got {shown(found[:60])}") from error

    def ids(self) -> Iterator[tuple[ResourceId, Node]]:
        """The members of an object whose names are ARM ids."""
        for name, value in self.members():
            try:
                yield ResourceId.parse(name), value
            except DecodeError as error:
                raise DecodeError(value.path, error.problem) from error

    def resource_id(self) -> ResourceId:
        """An ARM id. Azure writes those of assignments at the root without the leading slash."""
        text = self.required()
        try:
            return ResourceId.parse(f"/{text}" if text.lower().startswith(("providers/", "subscriptions/")) else text)
        except DecodeError as error:
            raise DecodeError(self.path, error.problem) from error

    def optional_resource_id(self) -> ResourceId | None:
        """An ARM id, or None where absent or empty."""
        return self.resource_id() if self.text() else None

    def key_uri(self) -> KeyUri:
        """The address of a key or secret."""
        try:
            return KeyUri.parse(self.required())
        except DecodeError as error:
            raise DecodeError(self.path, error.problem) from error

    def words(self) -> frozenset[str]:
        """A list of words, lower case."""
        return frozenset(each.lower() for each in self.texts())

    def texts(self) -> tuple[str, ...]:
        """A list of strings."""
        if isinstance(self.value, list) and all(isinstance(each, str) and each for each in self.value):
            return tuple(self.value)
        return tuple(each.required() for each in self)


def _kind(value: object) -> str:
    match value:
        case Mapping():
            return "an object"
        case list():
            return "a list"
        case str():
            return "a string"
        case bool():
            return "a boolean"
        case None:
            return "nothing"
        case _:
            return "a number"
