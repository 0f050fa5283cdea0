"""What `keydrift scan` writes, in which form and where to: tables for people, documents for programs, the page for a browser."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from io import StringIO
from pathlib import Path
from tempfile import NamedTemporaryFile
from uuid import uuid4

from rich.console import Console

from keydrift import ocsf, sarif
from keydrift.alerts.row import posture_row
from keydrift.console import print_scan, stderr
from keydrift.document import unread_document, verdict_document
from keydrift.errors import ConfigError
from keydrift.page.render import page
from keydrift.posture import posture_document
from keydrift.scan import ScanResult

PAGE_FILE = Path("keydrift-posture.html")


class Format(StrEnum):
    """How results are written."""

    TABLE = "table"
    JSON = "json"
    HTML = "html"
    SARIF = "sarif"
    OCSF = "ocsf"


def destination(form: Format, asked: Path | None) -> Path | None:
    """The file to write, or None for stdout. Raises ConfigError where the file could not be written: better before a long scan.

    `-` asks for stdout. A page is of no use in a terminal: there it goes to `keydrift-posture.html`, unless told otherwise.
    """
    if asked is None:
        asked = PAGE_FILE if form is Format.HTML and sys.stdout.isatty() else None
    if asked is None or str(asked) == "-":
        return None
    if asked.is_dir() or not asked.absolute().parent.is_dir() or not os.access(asked.absolute().parent, os.W_OK):
        raise ConfigError(f"cannot write `{asked}`: name a file in a directory that exists and may be written")
    return asked


def write_scan(result: ScanResult, at: datetime, form: Format, to: Path | None, *, exit_status: int) -> None:
    """Write a scan's result to a file, whole or not at all, or to stdout. Raises ConfigError where the file cannot be written."""
    if form is Format.TABLE and to is None:
        print_scan(Console(), result)
        return
    text = _WRITERS[form](result, at, exit_status)
    if to is None:
        sys.stdout.write(text)
        return
    try:
        _replace(to, text)
    except OSError as error:
        raise ConfigError(f"cannot write `{to}`: {error.strerror or error}") from error
    stderr().print(f"wrote {to}", markup=False, highlight=False, soft_wrap=True)


def scan_document(result: ScanResult, at: datetime) -> dict[str, object]:
    """A scan's result as a document (formats)."""
    bindings = [verdict_document(verdict, result.exemption(verdict)) for verdict in result.verdicts]
    return posture_document(bindings, [unread_document(each) for each in result.unread], at, source="scan")


def _replace(path: Path, text: str) -> None:
    with NamedTemporaryFile(
        "w", dir=path.absolute().parent, prefix=f".{path.name[:40]}.", delete=False, encoding="utf-8"
    ) as file:
        try:
            file.write(text)
            file.close()
            # A temporary file is its owner's alone; what is asked for by name is what the umask makes it
            umask = os.umask(0)
            os.umask(umask)
            Path(file.name).chmod(0o666 & ~umask)
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def _table(result: ScanResult, _at: datetime, _status: int) -> str:
    console = Console(file=StringIO(), width=160)
    print_scan(console, result)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def _json(result: ScanResult, at: datetime, _status: int) -> str:
    return json.dumps(scan_document(result, at), indent=2) + "\n"


def _html(result: ScanResult, at: datetime, _status: int) -> str:
    return page(scan_document(result, at))


def _sarif(result: ScanResult, at: datetime, status: int) -> str:
    log = sarif.log(
        result.verdicts, result.exemption, unread=result.unread, unlisted=result.inventory_unread, at=at, exit_status=status
    )
    return json.dumps(log, indent=2) + "\n"


def _ocsf(result: ScanResult, at: datetime, _status: int) -> str:
    scan = str(uuid4())
    rows = [posture_row(v, result.exemption(v), scan, at, result.tenant_id) for v in result.verdicts]
    findings = [ocsf.scan_finding(row) for row in rows if row["FindingCodes"]]
    findings += [ocsf.unread_finding(each, at, result.tenant_id) for each in result.unread]
    return "".join(json.dumps(each) + "\n" for each in findings)


_WRITERS: dict[Format, Callable[[ScanResult, datetime, int], str]] = {
    Format.TABLE: _table,
    Format.JSON: _json,
    Format.HTML: _html,
    Format.SARIF: _sarif,
    Format.OCSF: _ocsf,
}
