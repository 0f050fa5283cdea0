"""What a benchmark came to: lines with keydrift, the peer or the floor, and the ratio; shown as a table, kept in RESULTS.md."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).with_name("RESULTS.md")
_HEAD = """# Results

Written by `make bench` and `make bench-peers`; each table says when. Figures are medians of runs taken in turn. Ratio: how many
times the peer's or floor's figure is keydrift's (above 1: keydrift needs less).
"""
_COLUMNS = ("", "keydrift", "beside it", "what stands beside it", "ratio", "goal")
_PACKAGES = ("azure-functions", "azure-mgmt-keyvault", "azure-core", "aiohttp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One figure of keydrift's, and what stands beside it: `beside` says what it is, `theirs` is its figure in the same unit."""

    what: str
    ours: float
    theirs: float | None = None
    beside: str = ""
    unit: str = ""
    goal: str = ""

    @property
    def cells(self) -> tuple[str, ...]:
        """As a row of the table."""
        theirs = "" if self.theirs is None else self._shown(self.theirs)
        ratio = f"{self.theirs / self.ours:.3g}" if self.theirs is not None and self.ours and self.beside else ""
        return (self.what, self._shown(self.ours), theirs, self.beside, ratio, self.goal)

    def _shown(self, value: float) -> str:
        plain = f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"
        return f"{plain} {self.unit}".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A benchmark's table. The title begins with its number."""

    title: str
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()

    @property
    def is_beside_peers(self) -> bool:
        """Whether any line has something to stand beside."""
        return any(line.beside for line in self.lines)

    def show(self, console: Console) -> None:
        """Print it."""
        table = Table(title=self.title, title_justify="left", box=None, header_style="bold")
        for name in _COLUMNS:
            table.add_column(name, justify="right" if name in _COLUMNS[1:3] or name == "ratio" else "left")
        for line in self.lines:
            table.add_row(*line.cells)
        console.print(table, *self.notes, "", sep="\n")

    def markdown(self, setting: str) -> str:
        """The same for RESULTS.md."""
        rule = "| --- | ---: | ---: | --- | ---: | --- |"
        rows = ["| " + " | ".join(each.replace("|", "\\|") for each in line.cells) + " |" for line in self.lines]
        return "\n".join([f"## {self.title}", "", setting, "", "| " + " | ".join(_COLUMNS) + " |", rule, *rows, "", *self.notes])


def keep(section: Section, *, peers: Mapping[str, str] | None = None, path: Path = RESULTS) -> None:
    """Write a section to RESULTS.md, in the place of the one with its number."""
    found = _sections(path.read_text(encoding="utf-8")) if path.exists() else {}
    found[section.title] = section.markdown(setting_of(peers or {})).rstrip() + "\n"
    found = {title: text for title, text in found.items() if title == section.title or _number(title) != _number(section.title)}
    ordered = [found[title] for title in sorted(found, key=_number)]
    path.write_text("\n".join([_HEAD, *ordered]), encoding="utf-8")


def _sections(text: str) -> dict[str, str]:
    parts = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    return {part.partition("\n")[0]: f"## {part.rstrip()}\n" for part in parts}


def _number(title: str) -> int:
    number = title.partition(".")[0]
    return int(number) if number.isdigit() else 99


def setting_of(peers: Mapping[str, str]) -> str:
    """When, with what and on what: never where."""
    packages = ", ".join(f"{name} {each}" for name, each in ({name: version(name) for name in _PACKAGES} | dict(peers)).items())
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"{when}; Python {platform.python_version()}; {packages}; {_machine()}"


def _machine() -> str:
    cores, model = os.cpu_count(), platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        named = re.search(r"^model name\s*:\s*(.+)$", info.read_text(encoding="utf-8"), re.MULTILINE)
        model = named.group(1) if named else model
    load = f", load average {os.getloadavg()[0]:.1f} at the end" if hasattr(os, "getloadavg") else ""
    return f"{cores} cores, {model}{load}"
