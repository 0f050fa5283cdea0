"""The errors of the pure core. Adapters' errors stand beside their ports."""

from __future__ import annotations


class DecodeError(ValueError):
    """A document from outside is not what it should be: their payload, not our defect.

    `path` is a JSON path such as `$.data.resourceUri`; `problem` says what was expected there.
    """

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


class ConfigError(ValueError):
    """A setting, argument or file of the user's is wrong; the message is one line that says what to do."""
