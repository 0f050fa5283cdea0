"""Event Grid's dead-letter container, as a folder and as Azurite serves it: the same promises on both."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from keydrift.adapters.dead_letter_blobs import DeadLetterBlobs
from keydrift.adapters.dead_letter_folder import DeadLetterFolder
from keydrift.ports import StateError
from keydrift.storage import ClosableContainer

if TYPE_CHECKING:
    from azure.storage.blob.aio import ContainerClient

type Put = Callable[[str, bytes], Awaitable[None]]
NAME = "KEYDRIFT/2026/1/9/5/11111111-1111-1111-1111-111111111111.json"


def client(connection: str, name: str) -> ContainerClient:
    from azure.storage.blob.aio import ContainerClient

    return ContainerClient.from_connection_string(connection, name)


@pytest.fixture(params=["folder", "azurite"])
async def container(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[ClosableContainer, Put]]:
    """A container, and what puts a blob into it as Event Grid would."""
    made: ClosableContainer
    if request.param == "folder":

        async def write(name: str, content: bytes) -> None:
            (tmp_path / "letters" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "letters" / name).write_bytes(content)

        made = DeadLetterFolder(tmp_path / "letters")
        yield made, write
    else:
        connection, name = request.getfixturevalue("azurite"), f"letters-{uuid.uuid4().hex}"
        made = DeadLetterBlobs.from_connection_string(connection, name)
        async with client(connection, name) as theirs:

            async def upload(name: str, content: bytes) -> None:
                if not await theirs.exists():
                    await theirs.create_container()
                await theirs.upload_blob(name, content, overwrite=True)

            yield made, upload
    await made.close()


async def test_no_container_holds_nothing(container: tuple[ClosableContainer, Put]) -> None:
    """Where there is no container yet there is nothing to take back, and that is no error."""
    made, _ = container
    assert list(await made.names(10)) == []
    assert await made.read(NAME) is None


async def test_what_is_there_is_listed_read_and_deleted(container: tuple[ClosableContainer, Put]) -> None:
    """Blobs are listed in order up to the limit, read whole, and gone once deleted; one that is gone reads as nothing."""
    made, put = container
    names = [f"KEYDRIFT/2026/1/9/{hour}/x.json" for hour in (1, 2, 3)]
    for each in reversed(names):
        await put(each, f"[{each!r}]".encode())
    assert list(await made.names(10)) == names
    assert list(await made.names(2)) == names[:2]
    blob = await made.read(names[0])
    assert blob is not None
    assert (blob.name, blob.content) == (names[0], f"[{names[0]!r}]".encode())
    await made.delete(blob)
    await made.delete(blob)
    assert list(await made.names(10)) == names[1:]
    assert await made.read(names[0]) is None


async def test_a_blob_that_was_written_anew_is_not_deleted(container: tuple[ClosableContainer, Put]) -> None:
    """Only the version that was read is deleted: what was written meanwhile stays to be read."""
    made, put = container
    await put(NAME, b"[1]")
    blob = await made.read(NAME)
    assert blob is not None
    await put(NAME, b"[1, 2]")
    await made.delete(blob)
    again = await made.read(NAME)
    assert again is not None
    assert again.content == b"[1, 2]"


async def test_a_refusal_names_the_role(azurite: str) -> None:
    """An account key that is wrong is one line about the container and the role."""
    wrong = azurite.replace("AccountKey=Eby8", "AccountKey=AAAA")
    made = DeadLetterBlobs.from_connection_string(wrong, "letters")
    with pytest.raises(StateError, match="Storage Blob Data Contributor") as caught:
        await made.names(1)
    assert "container `letters`" in str(caught.value)
    await made.close()
