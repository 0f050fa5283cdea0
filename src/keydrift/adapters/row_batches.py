"""Rows in bodies that a service takes, in order, and what is known when one of them is refused.

Both sinks take at most 1 MB a body (azure-facts 6; learn.microsoft.com/azure/event-grid/quotas-limits), counted here as JSON with
separators and brackets. A body that is refused for what it holds is halved until the one row is found that is to blame.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from azure.core.exceptions import AzureError

from keydrift.ports import DeliveryError

type Row = Mapping[str, object]

CHUNK_BYTES = 900_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What an error answer says: one line that says what to do, and whether it is about what the body holds."""

    message: str
    about_content: bool = False


async def send_in_chunks(
    rows: Sequence[Row],
    upload: Callable[[Sequence[Row]], Awaitable[object]],
    judge: Callable[[AzureError | OSError], Refusal],
    *,
    overhead: int = 0,
) -> None:
    """Upload rows in order, `overhead` bytes more for each. Raises DeliveryError at the first that is not accepted."""
    accepted = 0

    async def send(part: Sequence[Row]) -> None:
        nonlocal accepted
        try:
            await upload(part)
        except (AzureError, OSError) as error:
            refusal = judge(error)
            if not refusal.about_content or len(part) == 1:
                raise DeliveryError(refusal.message, accepted=accepted, for_good=refusal.about_content) from error
        else:
            accepted += len(part)
            return
        half = len(part) // 2
        await send(part[:half])
        await send(part[half:])

    for chunk in chunks(rows, overhead):
        await send(chunk)


def chunks(rows: Sequence[Row], overhead: int = 0) -> Iterator[list[Row]]:
    """Rows in lists whose JSON, separators and brackets included, stays under the limit."""
    chunk: list[Row] = []
    size = 2
    for row in rows:
        length = len(json.dumps(row).encode()) + 2 + overhead
        if chunk and size + length > CHUNK_BYTES:
            yield chunk
            chunk, size = [], 2
        chunk.append(row)
        size += length
    if chunk:
        yield chunk
