"""What is deployed: the files that `.funcignore` leaves, and a Python with nothing but the packages of requirements.txt."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from pathspec import GitIgnoreSpec

ROOT = Path(__file__).resolve().parents[2]
_PYTHONS = ROOT / ".keydrift" / "deployed"


def deployed_files() -> list[Path]:
    """Every file that goes into the archive, relative to the project. `.funcignore` is read as func does: like a .gitignore."""
    spec = GitIgnoreSpec.from_lines((ROOT / ".funcignore").read_text(encoding="utf-8").splitlines())
    return sorted(_walk(ROOT, spec))


def _walk(folder: Path, spec: GitIgnoreSpec) -> Iterator[Path]:
    for each in folder.iterdir():
        shown = each.relative_to(ROOT)
        if spec.match_file(f"{shown.as_posix()}/" if each.is_dir() else shown.as_posix()):
            continue
        if each.is_dir():
            yield from _walk(each, spec)
        else:
            yield shown


def unpack(folder: Path) -> Path:
    """A copy of the deployed files."""
    for each in deployed_files():
        (folder / each.parent).mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / each, folder / each)
    return folder


def deployed_python() -> Path:
    """A Python with the deployed packages, made once for each version of requirements.txt."""
    requirements = ROOT / "requirements.txt"
    digest = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    python = _PYTHONS / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    mark = _PYTHONS / "installed.txt"
    _PYTHONS.mkdir(parents=True, exist_ok=True)
    # Parallel workers install once. A SQLite lock exists on every platform and ends with the process that holds it.
    with closing(sqlite3.connect(_PYTHONS / "lock.db", timeout=600, isolation_level=None)) as lock:
        lock.execute("BEGIN EXCLUSIVE")
        if not mark.exists() or mark.read_text() != digest or not python.exists():
            mark.unlink(missing_ok=True)
            subprocess.run([sys.executable, "-m", "venv", "--clear", _PYTHONS / "venv"], check=True)
            pip: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*pip, "--require-hashes", "-r", requirements], check=True)
            mark.write_text(digest)
    return python
