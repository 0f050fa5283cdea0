"""The limits that every queue keeps, whichever it is. No I/O here."""

from __future__ import annotations

MAX_MESSAGE_BYTES = 48 * 1024
"""What base64 makes 64 KiB of, a storage queue's limit (learn.microsoft.com/rest/api/storageservices/put-message)."""
MAX_DELAY_S = 7 * 86_400
"""The longest visibility time-out of a storage queue (the same page)."""


def check_message(body: str, delay_s: float) -> None:
    """Raise ValueError where a message or its delay is beyond what an Azure Storage queue takes."""
    size = len(body.encode("utf-8"))
    if size > MAX_MESSAGE_BYTES:
        raise ValueError(f"a message has at most {MAX_MESSAGE_BYTES} bytes, not {size}")
    if not 0 <= delay_s <= MAX_DELAY_S:
        raise ValueError(f"a message is delayed by 0 to {MAX_DELAY_S} s, not {delay_s}")
