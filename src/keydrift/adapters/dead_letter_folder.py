"""Event Grid's dead-letter container on a laptop: a folder of files beside the SQLite file of the state."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from keydrift.ports import DeadLetterBlob, StateError


class DeadLetterFolder:
    """A `DeadLetterContainer`: every file below `folder`, named by its path from there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def names(self, limit: int) -> Sequence[str]:
        """Return the names of at most `limit` files, in order; none where there is no folder yet."""
        found = (each.relative_to(self._folder).as_posix() for each in self._folder.rglob("*") if each.is_file())
        return sorted(found)[:limit]

    async def read(self, name: str) -> DeadLetterBlob | None:
        """Return a file, or None where it is gone. Raises `StateError`."""
        try:
            content = (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateError(f"the file `{self._folder / name}` cannot be read: {error.strerror}", transient=False) from error
        return DeadLetterBlob(name=name, content=content, etag=hashlib.sha256(content).hexdigest())

    async def delete(self, blob: DeadLetterBlob) -> None:
        """Delete that very version of a file; nothing where it is gone or was written anew. Raises `StateError`."""
        found = await self.read(blob.name)
        if found is not None and found.etag == blob.etag:
            (self._folder / blob.name).unlink(missing_ok=True)

    async def close(self) -> None:
        """Nothing is held open."""
