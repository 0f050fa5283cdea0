"""Log lines for people: the constant message, then what was given in `extra`."""

from __future__ import annotations

import logging
import sys

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class WithExtras(logging.Formatter):
    """Appends the members of `extra` as `name=value`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        extras = " ".join(f"{name}={value}" for name, value in record.__dict__.items() if name not in _STANDARD)
        return f"{super().format(record)} {extras}".rstrip()


def show_extras() -> None:
    """Let the handlers that the Functions worker set up, which show the bare message, show what is in `extra` too."""
    for handler in logging.getLogger().handlers:
        if handler.formatter is None:
            handler.setFormatter(WithExtras("%(message)s"))


def to_stderr(*, verbose: bool) -> None:
    """Send keydrift's log to stderr: warnings and errors only, or with `verbose` everything from INFO on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(WithExtras("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.INFO if verbose else logging.ERROR, handlers=[handler])
    for name in ("azure", "azure.functions", "aiohttp", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
