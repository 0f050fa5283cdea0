"""The errors of the pure core. Adapters' errors stand beside their ports."""

from __future__ import annotations


class DecodeError(ValueError):
    """A document from outside is not what it should be: their payload, not our defect.

    `path` is a JSON path such as `$.data.resourceUri`; `problem` says what was expected there.
    """

    def __init__(self, path: str, problem: str) -> None:
        self.path = one_line(path)
        self.problem = one_line(problem)
        super().__init__(f"{self.path}: {self.problem}")


class ConfigError(ValueError):
    """A setting, argument or file of the user's is wrong; the message is one line that says what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


def one_line(text: str) -> str:
    """Text in which nothing is left that a terminal, a log or an encoder would act on: each such character is escaped."""
    return text if text.isprintable() else "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
