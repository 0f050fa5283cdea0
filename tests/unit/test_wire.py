"""Azure's JSON by path: types are checked where they are read, and a problem names its place."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from keydrift.adapters.wire import Node
from keydrift.errors import DecodeError
from keydrift.key_uri import KeyUri
from keydrift.resource_id import ResourceId

DOCUMENT: dict[str, object] = {
    "name": "kv1",
    "empty": "",
    "nothing": None,
    "yes": True,
    "list": ["A", "b"],
    "numbers": [1, 2],
    "deep": {"list": [{"id": "/subscriptions/s1"}, {"id": 7}]},
}


def test_members_are_reached_by_path() -> None:
    """A value deep in a document is reached through members and items, and remembers its path."""
    items = list(Node(DOCUMENT)["deep"]["list"])
    assert [item["id"].path for item in items] == ["$.deep.list[0].id", "$.deep.list[1].id"]
    assert items[0]["id"].resource_id() == ResourceId.parse("/Subscriptions/S1/")


@pytest.mark.parametrize("name", ["nothing", "absent"])
def test_null_and_absent_are_the_same(name: str) -> None:
    """Null and absent read as nothing, at any depth, and only where nothing is allowed."""
    node = Node(DOCUMENT)[name]
    assert (node.present, node.text(), node.lower(), node.flag(), node.number()) == (False, None, None, False, None)
    assert (node.epoch(), node.time(), node.optional_resource_id(), node.words(), node.texts()) == (
        None,
        None,
        None,
        frozenset(),
        (),
    )
    assert (list(node), list(node.members()), list(node.ids()), node["deeper"]["still"].text()) == ([], [], [], None)
    for read in (node.required, node.resource_id, node.key_uri, node.needed):
        with pytest.raises(DecodeError) as caught:
            read()
        assert caught.value.path == f"$.{name}"


@pytest.mark.parametrize(
    ("read", "path", "problem"),
    [
        (lambda n: n["name"]["deeper"], "$.name", "expected an object, got a string"),
        (lambda n: n["list"]["first"], "$.list", "expected an object, got a list"),
        (lambda n: list(n["deep"]), "$.deep", "expected a list, got an object"),
        (lambda n: list(n["list"].members()), "$.list", "expected an object, got a list"),
        (lambda n: n["yes"].text(), "$.yes", "expected a string, got a boolean"),
        (lambda n: n["deep"].lower(), "$.deep", "expected a string, got an object"),
        (lambda n: n["empty"].required(), "$.empty", "expected a string, got nothing"),
        (lambda n: n["name"].flag(), "$.name", "expected true or false, got a string"),
        (lambda n: n["numbers"].flag(), "$.numbers", "expected true or false, got a list"),
        (lambda n: n["yes"].number(), "$.yes", "expected a number, got a boolean"),
        (lambda n: n["name"].number(), "$.name", "expected a whole number, got a string"),
        (lambda n: n["numbers"].words(), "$.numbers[0]", "expected a string, got a number"),
        (lambda n: n["numbers"].texts(), "$.numbers[0]", "expected a string, got a number"),
        (lambda n: n["name"].time(), "$.name", "expected a time, got `kv1`"),
    ],
)
def test_a_wrong_type_names_its_place(read: Callable[[Node], object], path: str, problem: str) -> None:
    """A value of the wrong type is an error that says where it stands and what it is."""
    with pytest.raises(DecodeError) as caught:
        read(Node(DOCUMENT))
    assert (caught.value.path, caught.value.problem) == (path, problem)


@pytest.mark.parametrize(
    ("value", "expected"), [(True, True), (False, False), ("true", True), ("False", False), ("TRUE", True), (None, False)]
)
def test_flags(value: object, expected: bool) -> None:
    """Booleans are read as such, as the words that older bodies write, and as false where absent."""
    assert Node(value).flag() is expected


@pytest.mark.parametrize(("value", "expected"), [(7, 7), (7.0, 7), (0, 0), (None, None), (-1, -1)])
def test_numbers(value: object, expected: int | None) -> None:
    """Whole numbers are read however JSON writes them."""
    assert Node(value).number() == expected


@pytest.mark.parametrize("value", [7.5, "7", [], True])
def test_what_is_no_whole_number(value: object) -> None:
    """A fraction, a text or a boolean is no whole number."""
    with pytest.raises(DecodeError):
        Node(value).number()


def test_epoch_seconds() -> None:
    """Key Vault's epoch seconds are aware times in UTC, and what no calendar holds is an error."""
    assert Node(1_800_000_000).epoch() == datetime(2027, 1, 15, 8, tzinfo=UTC)
    with pytest.raises(DecodeError):
        Node(10**18).epoch()


@pytest.mark.parametrize(
    "text",
    ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00", "2026-01-01T02:00:00+02:00", "2026-01-01T00:00:00.0000000Z"],
)
def test_times(text: str) -> None:
    """A time is UTC whatever offset and however many fractional digits it was written with."""
    found = Node(text).time()
    assert found == datetime(2026, 1, 1, tzinfo=UTC)
    assert found is not None
    assert found.utcoffset() == timedelta(0)


@pytest.mark.parametrize("text", ["providers/Microsoft.Authorization/roleAssignments/a", "subscriptions/s1"])
def test_ids_at_the_root_lack_their_slash(text: str) -> None:
    """An id that Azure writes without its leading slash is the id."""
    assert Node(text).resource_id() == ResourceId.parse(f"/{text}")


@pytest.mark.parametrize("text", ["https://management.azure.com/subscriptions/s1", "kv1", "?x"])
def test_what_is_no_id(text: str) -> None:
    """Any other text is no id, and the error names the member."""
    with pytest.raises(DecodeError) as caught:
        Node({"id": text})["id"].resource_id()
    assert caught.value.path == "$.id"


def test_ids_as_member_names() -> None:
    """An object keyed by ids gives ids in any spelling, and names the member that is none."""
    attached = Node({"/subscriptions/S1/resourcegroups/rg1": {"principalId": "p"}}, "$.identity")
    assert [(str(found), node["principalId"].text()) for found, node in attached.ids()] == [
        ("/subscriptions/S1/resourcegroups/rg1", "p")
    ]
    with pytest.raises(DecodeError) as caught:
        list(Node({"kv1": {}}, "$.identity").ids())
    assert caught.value.path == "$.identity.kv1"


def test_key_addresses() -> None:
    """A key's address is read, and what is none names the member."""
    assert Node("https://KV1.vault.azure.net/keys/K1").key_uri() == KeyUri.parse("https://kv1.vault.azure.net/keys/k1")
    with pytest.raises(DecodeError) as caught:
        Node({"keyUri": "https://kv1.vault.azure.net/"})["keyUri"].key_uri()
    assert caught.value.path == "$.keyUri"


def test_words_are_lower_case() -> None:
    """Words compare case-insensitively, so they are lower case from here on; texts keep their spelling."""
    assert Node(DOCUMENT)["list"].words() == {"a", "b"}
    assert Node(DOCUMENT)["list"].texts() == ("A", "b")


def test_what_is_there_is_given_back() -> None:
    """A value that has to be there is itself when it is, empty or not."""
    values: tuple[object, ...] = ([], {}, "", 0, False)
    assert tuple(Node(value).needed().value for value in values) == values


def test_half_of_a_surrogate_pair_becomes_a_question_mark() -> None:
    """JSON can spell what no store, no address and no row can hold: it is replaced where it is read."""
    assert Node({"name": "k\ud800\u00fc"})["name"].text() == "k?\u00fc"


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_time_that_has_no_utc_is_an_error(time: str) -> None:
    """A time at the edge of the calendar is refused like any other that is none."""
    with pytest.raises(DecodeError):
        Node(time).time()
