"""The contract of `EntityStore`, kept by the fake in memory, by SQLite and by Azure Tables (Azurite)."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol, Self

import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError
from hypothesis import given
from hypothesis import strategies as st

from keydrift.adapters.entity_rules import MAX_BODY_CHARS, MAX_KEY_CHARS
from keydrift.adapters.sqlite_entities import SqliteEntities
from keydrift.adapters.table_entities import KEY_CHARS, TableEntities, decode_key, encode_key
from keydrift.errors import ConfigError
from keydrift.ports import Delete, Entity, EntityStore, StateConflictError, StateError, Write
from support.entities import MemoryEntities

ARM_ID = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg (1)/providers/Microsoft.KeyVault/vaults/kv-1"
WEIRD_KEYS = (
    "",
    " ",
    " leading and trailing ",
    "a/b\\c#d?e%f%2Fg+h&i'j\"k!l~m",
    "!2F",
    "%",
    "\x00",
    "nul\x00inside",
    "tab\tnewline\r\n\x1f\x7f\x80\x9f",
    "grüße-日本語-🔑-\ufffe\U0010ffff",
    "e\u0301",
    "é",
    "İ",
    "A" * 400,
    "/" * 400,
    "🔑" * 400,
    "/" * 399 + "x",
    "A" * 600,
    "A" * 440 + "~" + hashlib.sha256(b"A" * 600).hexdigest(),
    "=2+5+cmd|' /C calc'!A0",
    ARM_ID,
    ARM_ID.lower(),
    "https://kv-1.vault.azure.net/keys/k1",
)


class ClosingStore(EntityStore, Protocol):
    async def close(self) -> None: ...


@pytest.fixture(params=["memory", "sqlite", "azurite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ClosingStore]:
    made: ClosingStore
    match request.param:
        case "memory":
            made = MemoryEntities()
        case "sqlite":
            made = SqliteEntities(tmp_path / "state.db")
        case _:
            made = TableEntities.from_connection_string(request.getfixturevalue("azurite"), f"t{uuid.uuid4().hex}")
    yield made
    await made.close()


def entity(row: str, value: object = 1, *, etag: str | None = None, partition: str = "p") -> Entity:
    return Entity(partition=partition, row=row, body={"value": value}, etag=etag)


async def write(store: EntityStore, *entities: Entity) -> Sequence[Entity]:
    return await store.transact([Write(entity=each) for each in entities])


async def values(store: EntityStore, partition: str = "p") -> dict[str, object]:
    return {each.row: each.body["value"] for each in await store.query(partition)}


async def test_a_written_entity_is_read_back(store: ClosingStore) -> None:
    """What `transact` returns is what `get` and `query` return."""
    (written,) = await write(store, entity("r", {"nested": [1, None, True, "x"]}))
    assert written.etag
    assert await store.get("p", "r") == written
    assert await store.query("p") == [written]


async def test_absent_entities_are_none(store: ClosingStore) -> None:
    """An entity never stored, and one in another partition, read as None."""
    await write(store, entity("r"))
    assert await store.get("p", "R") is None
    assert await store.get("p2", "r") is None
    assert await store.query("p2") == []


async def test_an_insert_conflicts_with_a_stored_entity(store: ClosingStore) -> None:
    """Inserting twice conflicts and leaves the first version."""
    (first,) = await write(store, entity("r", 1))
    with pytest.raises(StateConflictError):
        await write(store, entity("r", 2))
    assert await store.get("p", "r") == first


async def test_a_replacement_needs_the_stored_etag(store: ClosingStore) -> None:
    """The current ETag replaces, changes the ETag, and replaces only once."""
    (first,) = await write(store, entity("r", 1))
    (second,) = await write(store, entity("r", 2, etag=first.etag))
    assert second.etag not in {None, first.etag}
    with pytest.raises(StateConflictError):
        await write(store, entity("r", 3, etag=first.etag))
    assert await store.get("p", "r") == second


async def test_writing_the_same_body_again_changes_the_etag(store: ClosingStore) -> None:
    """Two versions never share an ETag, however alike and however fast."""
    etag = None
    seen = set()
    for _ in range(10):
        (written,) = await write(store, entity("r", 1, etag=etag))
        etag = written.etag
        seen.add(etag)
    assert len(seen) == 10


async def test_replacing_an_absent_entity_conflicts(store: ClosingStore) -> None:
    """A replacement of an entity that is gone, or never was, conflicts instead of inserting."""
    (first,) = await write(store, entity("r"))
    await store.transact([Delete(partition="p", row="r")])
    with pytest.raises(StateConflictError):
        await write(store, entity("r", 2, etag=first.etag))
    assert await store.query("p") == []


async def test_an_etag_does_not_outlive_its_entity(store: ClosingStore) -> None:
    """An entity inserted again does not accept the ETag that it had before its deletion."""
    (first,) = await write(store, entity("r", 1))
    await store.transact([Delete(partition="p", row="r")])
    (second,) = await write(store, entity("r", 1))
    with pytest.raises(StateConflictError):
        await write(store, entity("r", 2, etag=first.etag))
    assert await store.get("p", "r") == second


async def test_an_upsert_is_unconditional_and_replaces_whole(store: ClosingStore) -> None:
    """The ETag `*` inserts or replaces, and nothing of the old body stays."""
    await write(store, entity("r", "x" * 100_000, etag="*"))
    (second,) = await write(store, Entity(partition="p", row="r", body={"other": 2}, etag="*"))
    assert second.etag != "*"
    assert await store.get("p", "r") == Entity(partition="p", row="r", body={"other": 2}, etag=second.etag)


@pytest.mark.parametrize("conflict", ["stale", "insert", "missing", "delete"])
async def test_a_conflict_leaves_everything_untouched(store: ClosingStore, conflict: str) -> None:
    """One conflicting operation, wherever it stands, undoes the whole transaction."""
    stored = {each.row: each for each in await write(store, *(entity(row) for row in ("a", "b", "c")))}
    await write(store, entity("b", 2, etag=stored["b"].etag))
    before = list(await store.query("p"))
    candidates: dict[str, Write | Delete] = {
        "stale": Write(entity=entity("b", 9, etag=stored["b"].etag)),
        "insert": Write(entity=entity("b", 9)),
        "missing": Write(entity=entity("zz", 9, etag=stored["b"].etag)),
        "delete": Delete(partition="p", row="b", etag=stored["b"].etag),
    }
    bad = candidates[conflict]
    good: list[Write | Delete] = [
        Write(entity=entity("new", 9)),
        Write(entity=entity("a", 9, etag=stored["a"].etag)),
        Delete(partition="p", row="c"),
        Delete(partition="p", row="absent"),
    ]
    for at in (0, 2, 4):
        with pytest.raises(StateConflictError):
            await store.transact([*good[:at], bad, *good[at:]])
        assert await store.query("p") == before


async def test_deletes(store: ClosingStore) -> None:
    """A delete takes any version or the one named; of an absent entity it does nothing, or conflicts where a version is named."""
    stored = await write(store, *(entity(row) for row in ("a", "b", "c")))
    (current,) = await write(store, entity("c", 2, etag=stored[2].etag))
    operations = [
        Delete(partition="p", row="a"),
        Delete(partition="p", row="b", etag="*"),
        Delete(partition="p", row="c", etag=current.etag),
        Delete(partition="p", row="absent"),
    ]
    assert list(await store.transact(operations)) == []
    assert await store.query("p") == []
    assert list(await store.transact([Delete(partition="p", row="a")])) == []
    with pytest.raises(StateConflictError):
        await store.transact([Delete(partition="p", row="c", etag=current.etag)])


async def test_deletes_and_writes_mix(store: ClosingStore) -> None:
    """The written entities come back in order, whatever is deleted among them."""
    await write(store, entity("old"))
    written = await store.transact(
        [
            Write(entity=entity("b", 1)),
            Delete(partition="p", row="absent"),
            Write(entity=entity("a", 2)),
            Delete(partition="p", row="old"),
        ]
    )
    assert [each.row for each in written] == ["b", "a"]
    assert [await store.get("p", each.row) for each in written] == list(written)
    assert await values(store) == {"a": 2, "b": 1}


async def test_a_prefix_query_returns_exactly_its_rows_in_order(store: ClosingStore) -> None:
    """Rows are ordered by code point, and a prefix is text, not a path and not a pattern."""
    rows = [
        "",
        "A",
        "a",
        "a ",
        "a!",
        "a#",
        "a%",
        "a%2F",
        "a-",
        "a/",
        "a/b",
        "a0",
        "a\x00",
        "aZ",
        "a_",
        "ab",
        "abc",
        "a~",
        "aé",
        "a🔑",
    ]
    rows += ["a\ufffe", "a\U0010ffff", "b", "b/", "é", "é/x", "~", "~~", "🔑"]
    await write(store, *(entity(row) for row in reversed(rows)), entity("/" * 600), entity("/" * 600 + "é"))
    everything = sorted([*rows, "/" * 600, "/" * 600 + "é"])
    assert [each.row for each in await store.query("p")] == everything
    for prefix in [
        "a",
        "a/",
        "a%",
        "ab",
        "a!",
        "a\x00",
        "aé",
        "a🔑",
        "A",
        "b",
        "~",
        "é",
        "🔑",
        "a_",
        "/",
        "/" * 600,
        "/" * 601,
        "zz",
    ]:
        expected = [row for row in everything if row.startswith(prefix)]
        assert [each.row for each in await store.query("p", prefix)] == expected, prefix


@pytest.mark.parametrize("key", WEIRD_KEYS)
async def test_any_text_is_a_key(store: ClosingStore, key: str) -> None:
    """Keys come back as they went in, as partition and as row, in every kind of operation."""
    (first,) = await write(store, entity(key, 1, partition=key))
    assert await store.get(key, key) == first
    (second,) = await write(store, entity(key, 2, partition=key, etag=first.etag))
    assert await store.query(key, key) == [second]
    assert (second.partition, second.row) == (key, key)
    await store.transact([Delete(partition=key, row=key, etag=second.etag)])
    assert await store.get(key, key) is None


async def test_similar_keys_are_different_entities(store: ClosingStore) -> None:
    """No two keys fall together: letter case, normal form, escapes and long common beginnings count."""
    await write(store, *(entity(key, index) for index, key in enumerate(WEIRD_KEYS)))
    assert await values(store) == {key: index for index, key in enumerate(WEIRD_KEYS)}


async def test_bodies_keep_every_value(store: ClosingStore) -> None:
    """Numbers keep their digits, text its characters, members their order and null its place."""
    body = {
        "z": 2**80 + 1,
        "a": 0.1 + 0.2,
        "tiny": 5e-324,
        "negative_zero": -0.0,
        "one": 1,
        "one_float": 1.0,
        "null": None,
        "empty": {"list": [], "text": "", "object": {}},
        "text": 'quotes " and \\ and \x00\x1f\u2028 é 日本 🔑 \ud800',
        "time": "2026-01-01T00:00:00.1234567Z",
        "": "an empty name",
        "odata.etag": "not metadata",
    }
    await write(store, Entity(partition="p", row="r", body=body))
    read = await store.get("p", "r")
    assert read is not None
    assert repr(dict(read.body)) == repr(body)


@pytest.mark.parametrize("text", ["x" * 200_000, "é🔑\\" * 12_000, '"' * 200_000], ids=["ascii", "unicode", "quotes"])
async def test_big_bodies(store: ClosingStore, text: str) -> None:
    """A body of 200 KB is stored whole, and a small one after it leaves nothing of it."""
    (written,) = await write(store, entity("r", text))
    assert await store.get("p", "r") == written
    (small,) = await write(store, entity("r", "small", etag=written.etag))
    assert await store.query("p") == [small]


async def test_the_largest_body_fits_and_a_larger_one_is_refused(store: ClosingStore) -> None:
    """The limit is the same in every store, and its error says that a retry is pointless."""
    fits = entity("/" * MAX_KEY_CHARS, "x" * (MAX_BODY_CHARS - len('{"value":""}')), partition="/" * MAX_KEY_CHARS)
    (written,) = await write(store, fits)
    assert await store.get(fits.partition, fits.row) == written
    with pytest.raises(StateError, match="1 MiB") as refused:
        await write(store, entity("r", "x" * MAX_BODY_CHARS))
    assert not refused.value.transient


async def test_a_transaction_that_is_too_large_altogether_is_refused(store: ClosingStore) -> None:
    """Entities that fit one by one, but not together, are refused by every store alike, and nothing is written."""
    with pytest.raises(StateError, match="fewer entities") as refused:
        await write(store, *(entity(str(index), "x" * 400_000) for index in range(11)))
    assert not refused.value.transient
    assert await store.query("p") == []
    written = await write(store, *(entity(str(index), "x" * 400_000) for index in range(10)))
    assert await store.query("p") == written


async def test_a_hundred_operations_are_one_transaction(store: ClosingStore) -> None:
    """A hundred operations are taken, and undone together."""
    rows = [f"r{index:03}" for index in range(100)]
    written = await write(store, *(entity(row) for row in rows))
    assert await store.query("p") == written
    with pytest.raises(StateConflictError):
        await write(store, *(entity(f"n{index:03}") for index in range(99)), entity("r099"))
    assert await store.query("p", "n") == []


async def test_more_than_a_page_of_entities_is_returned_whole(store: ClosingStore) -> None:
    """A query does not stop at the 1,000 entities that Azure answers at once."""
    rows = [f"{index:04}" for index in range(1_100)]
    for start in range(0, len(rows), 100):
        await write(store, *(entity(row) for row in rows[start : start + 100]))
    assert [each.row for each in await store.query("p")] == rows


@pytest.mark.parametrize(
    "operations",
    [
        [Write(entity=entity(str(index))) for index in range(101)],
        [Write(entity=entity("a")), Write(entity=entity("b", partition="p2"))],
        [Write(entity=entity("a")), Delete(partition="p", row="a")],
        [Write(entity=entity("a")), Write(entity=entity("k" * (MAX_KEY_CHARS + 1)))],
        [Write(entity=entity("a")), Write(entity=entity("\ud800"))],
        [Write(entity=entity("a")), Write(entity=entity("b", float("nan")))],
    ],
    ids=["101 operations", "two partitions", "one row twice", "key too long", "lone surrogate", "not JSON"],
)
async def test_broken_transactions_are_value_errors(store: ClosingStore, operations: Sequence[Write | Delete]) -> None:
    """A transaction that breaks a rule is the caller's mistake, in every store alike, and writes nothing."""
    with pytest.raises(ValueError, match=r"."):
        await store.transact(operations)
    assert await store.query("p") == []


async def test_an_empty_transaction_does_nothing(store: ClosingStore) -> None:
    """No operations are no error."""
    assert list(await store.transact([])) == []


async def test_of_concurrent_writers_exactly_one_wins(store: ClosingStore) -> None:
    """Writers that read the same version, or insert the same row, conflict but for one, whose write stays."""
    etag: str | None = None
    for _ in range(5):
        attempts = [write(store, entity("r", number, etag=etag), entity(f"by-{number}", etag="*")) for number in range(4)]
        outcomes = await asyncio.gather(*attempts, return_exceptions=True)
        winners = [each for each in outcomes if not isinstance(each, BaseException)]
        assert len(winners) == 1
        assert [type(each) for each in outcomes if isinstance(each, BaseException)] == [StateConflictError] * 3
        assert await store.get("p", "r") == winners[0][0]
        assert await store.query("p", "by-") == [winners[0][1]]
        await store.transact([Delete(partition="p", row=winners[0][1].row)])
        etag = winners[0][0].etag


# --- SQLite ------------------------------------------------------------------------------------------------------------


async def test_a_file_outlives_its_store(tmp_path: Path) -> None:
    """What one store wrote, another that opens the file later reads, with the same ETag."""
    first = SqliteEntities(tmp_path / "state.db")
    written = await write(first, entity("r"), entity("s"))
    await first.close()
    await first.close()
    second = SqliteEntities(tmp_path / "state.db")
    assert await second.query("p") == written
    await second.close()


async def test_two_stores_on_one_file_see_each_other(tmp_path: Path) -> None:
    """Stores that share a file conflict as if they were one."""
    stores = [SqliteEntities(tmp_path / "state.db") for _ in range(4)]
    outcomes = await asyncio.gather(
        *(write(each, entity("r", number)) for number, each in enumerate(stores)), return_exceptions=True
    )
    assert sum(isinstance(each, StateConflictError) for each in outcomes) == 3
    assert len({repr(await each.get("p", "r")) for each in stores}) == 1
    for each in stores:
        await each.close()


_INCREMENT = """
import asyncio, sys
from dataclasses import replace
from keydrift.adapters.sqlite_entities import SqliteEntities
from keydrift.ports import Entity, StateConflictError, Write

async def main() -> None:
    store = SqliteEntities(sys.argv[1])
    for _ in range(25):
        while True:
            stored = await store.get("p", "r") or Entity(partition="p", row="r", body={"value": 0})
            try:
                await store.transact([Write(entity=replace(stored, body={"value": stored.body["value"] + 1}))])
            except StateConflictError:
                continue
            break
    await store.close()

asyncio.run(main())
"""


def _fresh_interpreter() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


async def test_processes_share_a_file(tmp_path: Path) -> None:
    """Processes that open and change one new file at the same time lose no write of each other's."""
    path = tmp_path / "state.db"
    started = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", _INCREMENT, str(path), env=_fresh_interpreter())
        for _ in range(3)
    ]
    assert [await asyncio.wait_for(each.wait(), 60) for each in started] == [0, 0, 0]
    store = SqliteEntities(path)
    assert await values(store) == {"r": 75}
    await store.close()


async def test_a_file_that_another_is_making_is_waited_for(tmp_path: Path) -> None:
    """A new file that another process holds locked is no error: its release is waited for."""
    store = SqliteEntities(tmp_path / "state.db")
    with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        reading = asyncio.create_task(store.get("p", "r"))
        done, _ = await asyncio.wait([reading], timeout=0.2)
        assert not done
        other.execute("COMMIT")
    assert await reading is None
    await store.close()


@pytest.mark.parametrize(
    ("statement", "advice"),
    [("PRAGMA user_version = 999", "upgrade"), ("CREATE TABLE theirs (x)", "another program's data")],
    ids=["newer version", "another program's"],
)
async def test_a_file_that_is_not_this_versions_is_refused(tmp_path: Path, statement: str, advice: str) -> None:
    """A file written by a newer version or another program is an error that says so, and is left as it is."""
    path = tmp_path / "state.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute(statement)
    store = SqliteEntities(path)
    with pytest.raises(StateError, match=advice) as refused:
        await store.get("p", "r")
    assert not refused.value.transient
    await store.close()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'entity'").fetchone() == (0,)


async def test_a_file_that_cannot_be_opened_is_a_state_error(tmp_path: Path) -> None:
    """A missing folder and a file that is no database are errors of the store, not of SQLite."""
    (tmp_path / "text.db").write_text("no database " * 1000)
    for path in (tmp_path / "absent" / "state.db", tmp_path / "text.db"):
        store = SqliteEntities(path)
        with pytest.raises(StateError, match="cannot be used"):
            await write(store, entity("r"))
        await store.close()


# --- Azure Tables ------------------------------------------------------------------------------------------------------


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=450), st.integers(min_value=0))
def test_encoded_keys_are_safe_and_keep_prefixes(key: str, cut: int) -> None:
    """An encoded key fits, uses safe characters only, decodes to the key and begins as the encoding of any prefix does."""
    encoded = encode_key(key)
    assert len(encoded) <= KEY_CHARS
    assert encoded.isascii()
    assert not set(encoded) & set("/\\#?%+'\"& ")
    assert encoded.isprintable()
    prefix = encode_key(key[: cut % (len(key) + 1)])
    if "~" not in encoded:
        assert decode_key(encoded) == key
        assert encoded.startswith(prefix)


async def test_the_table_is_made_again_when_somebody_deleted_it(azurite: str) -> None:
    """A table deleted under the store is a transient error once, for reads and for writes, and then an empty table."""
    from azure.data.tables.aio import TableClient

    name = f"t{uuid.uuid4().hex}"
    store = TableEntities.from_connection_string(azurite, name)
    await write(store, entity("r"))
    async with TableClient.from_connection_string(azurite, name) as client:
        await client.delete_table()
        with pytest.raises(StateError) as answer:
            await store.get("p", "r")
        assert answer.value.transient
        assert await store.get("p", "r") is None
        await client.delete_table()
        with pytest.raises(StateError) as answer:
            await write(store, entity("r"))
        assert answer.value.transient
        await write(store, entity("r"))
        await client.delete_table()
        with pytest.raises(StateError) as answer:
            await store.query("p")
        assert answer.value.transient
        assert await store.query("p") == []
    await store.close()


async def test_a_refusal_names_the_role_that_is_missing(azurite: str) -> None:
    """An account key that is not the account's is answered with 403, and the error names the role."""
    wrong = azurite.replace("AccountKey=Eby8", "AccountKey=AAAA")
    store = TableEntities.from_connection_string(wrong, "t1234")
    with pytest.raises(StateError, match="Storage Table Data Contributor") as refused:
        await store.get("p", "r")
    assert not refused.value.transient
    await store.close()


@pytest.mark.parametrize(
    ("status", "code", "message", "is_transient"),
    [
        (401, "InvalidAuthenticationInfo", "Storage Table Data Contributor", False),
        (403, "AuthorizationPermissionMismatch", "Storage Table Data Contributor", False),
        (403, "AuthorizationFailure", "firewall", False),
        (400, "InvalidInput", "400 `InvalidInput`", False),
        (413, "RequestBodyTooLarge", "413", False),
        (409, "TableBeingDeleted", "409 `TableBeingDeleted`", True),
        (429, "TooManyRequests", "429", True),
        (503, "ServerBusy", "503 `ServerBusy`", True),
        (500, "", "500", True),
    ],
)
async def test_an_error_answer_says_whether_a_retry_helps(status: int, code: str, message: str, is_transient: bool) -> None:
    """Status and error code, in Azure's published form, decide what the error says and whether it is transient."""

    async def answer(_: web.BaseRequest) -> web.Response:
        body = {"odata.error": {"code": code, "message": {"lang": "en-US", "value": "a text that nobody reads"}}}
        return web.json_response(body, status=status, headers={"x-ms-error-code": code})

    async with RawTestServer(answer, host="127.0.0.1") as server:
        settings = f"AccountName=a;AccountKey=AAAA;TableEndpoint=http://127.0.0.1:{server.port}/a"
        store = TableEntities.from_connection_string(settings, "t1234")
        with pytest.raises(StateError, match=message) as refused:
            await write(store, entity("r"))
        assert refused.value.transient is is_transient
        await store.close()


async def test_an_unreachable_account_is_transient() -> None:
    """Where nothing listens, the error says so and that trying again may help."""
    unreachable = "AccountName=a;AccountKey=AAAA;TableEndpoint=http://127.0.0.1:1/a"
    store = TableEntities.from_connection_string(unreachable, "t1234")
    with pytest.raises(StateError, match="cannot be reached") as refused:
        await store.transact([Write(entity=entity("r"))])
    assert refused.value.transient
    await store.close()


class _NoIdentity:
    """A credential like azure-identity's, where there is no managed identity."""

    async def get_token(self, *scopes: str, **_: object) -> AccessToken:
        raise ClientAuthenticationError(f"no managed identity for {scopes}")

    async def close(self) -> None: ...

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...


async def test_an_identity_without_a_token_is_told_apart() -> None:
    """Where the monitor's own identity yields no token, the error says so instead of blaming the account."""
    store = TableEntities("https://127.0.0.1:1", _NoIdentity(), "t1234")
    with pytest.raises(StateError, match="no token for the table `t1234`"):
        await store.query("p")
    await store.close()


def test_a_connection_string_without_a_key_is_a_config_error() -> None:
    """A connection string that cannot sign in is refused at once, with what it needs."""
    with pytest.raises(ConfigError, match="AccountKey"):
        TableEntities.from_connection_string("AccountName=a;SharedAccessSignature=sv", "t1234")


def test_the_modules_import_without_the_azure_sdk() -> None:
    """Importing the Azure adapters loads none of the SDK: that would be cold-start time."""
    code = (
        "import sys, keydrift.adapters.table_entities, keydrift.adapters.storage_queue\n"
        "print([name for name in sys.modules if name.startswith('azure')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=_fresh_interpreter())
    assert done.stdout.strip() == "[]"
