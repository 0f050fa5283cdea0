"""`keydrift scan` in every format, to stdout and to files, on the simulated tenant."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keydrift.cli import main
from keydrift.model import PermissionModel, Scenario
from keydrift.scan_output import PAGE_FILE
from support import tenants

type Scan = Callable[..., tuple[int, str, str]]


@pytest.fixture
def tenant(tmp_path: Path) -> Path:
    """A tenant file whose one key binding is lost."""
    document = {**tenants.healthy(Scenario.BACKUP_VAULT_CMK, PermissionModel.RBAC), "roleAssignments": []}
    path = tmp_path / "tenant.json"
    path.write_text(json.dumps(document))
    return path


@pytest.fixture
def scan(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tenant: Path, tmp_path: Path) -> Scan:
    """Runs `keydrift scan` on that tenant, in a directory of its own; returns status, stdout and stderr."""
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.chdir(place)

    def run(*arguments: object, terminal: bool = False) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["keydrift", "scan", "--tenant", str(tenant), *map(str, arguments)])
        monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
        with pytest.raises(SystemExit) as ended:
            main()
        shown = capsys.readouterr()
        return int(ended.value.code or 0), shown.out, shown.err

    return run


def test_the_page_goes_to_stdout_for_programs_and_to_a_file_for_people(scan: Scan) -> None:
    """In a pipe `--format html` writes the page alone; in a terminal it writes a file and names it; `-` always means stdout."""
    status, out, err = scan("--format", "html")
    assert (status, out[:15], err) == (1, "<!doctype html>", "")
    assert not PAGE_FILE.exists()
    status, shown, err = scan("--format", "html", terminal=True)
    assert (status, shown, err) == (1, "", "wrote keydrift-posture.html\n")
    assert PAGE_FILE.read_text() == out
    assert scan("--format", "html", "--output", "-", terminal=True)[1] == out


def test_the_page_holds_the_scan(scan: Scan) -> None:
    """The page of a scan is made of the very document that `--format json` shows."""
    document: dict[str, Any] = json.loads(scan("--format", "json")[1])
    page = scan("--format", "html")[1]
    data = json.loads(page.partition('id="data">')[2].partition("</script>")[0])
    (binding,) = document["bindings"]
    assert (data["source"], data["count"], data["generated_at"]) == ("scan", 1, document["generated_at"])
    assert data["columns"]["id"] == [binding["id"]]
    assert data["columns"]["findings"] == [binding["findings"]]
    assert "history" not in data["columns"]


@pytest.mark.parametrize("form", ["table", "json", "html", "sarif", "ocsf"])
def test_every_format_can_be_written_to_a_file(scan: Scan, form: str) -> None:
    """`--output` writes what stdout would show, exits with the scan's status, leaves stdout empty and no other file behind."""
    out = scan("--format", form)[1]
    target = Path("out")
    target.write_text("older")
    status, shown, err = scan("--format", form, "--output", target)
    assert (status, shown, err) == (1, "", "wrote out\n")
    for word in ("lost", "role-assignment-absent", "az role assignment create"):
        assert word in out
        assert word in target.read_text()
    if form != "table":  # as wide as the terminal, or as a file
        assert target.read_text() == out
    assert [each.name for each in Path().iterdir()] == ["out"]
    assert target.stat().st_mode & 0o700 == 0o600


def test_sarif_has_the_finding(scan: Scan) -> None:
    """`--format sarif` shows the loss as an error of its rule, and the exit status among the invocation's members."""
    status, out, err = scan("--format", "sarif")
    (run,) = json.loads(out)["runs"]
    assert [(each["ruleId"], each["level"]) for each in run["results"]] == [("role-assignment-absent", "error")]
    assert (status, err, run["invocations"][0]["exitCode"]) == (1, "", 1)


def test_ocsf_is_one_object_a_line(scan: Scan) -> None:
    """`--format ocsf` writes one Detection Finding a line, with the tenant's id; a held key binding has none."""
    (line,) = scan("--format", "ocsf")[1].splitlines()
    event = json.loads(line)
    assert (event["class_uid"], event["finding_info"]["types"]) == (2004, ["role-assignment-absent"])
    assert event["metadata"]["tenant_uid"] == tenants.TENANT_ID


@pytest.mark.parametrize("target", [".", "no-such-directory/out", "file/out"])
def test_a_file_that_cannot_be_written_is_one_line_before_the_scan(scan: Scan, target: str) -> None:
    """A directory, or a file in a directory that is none, is refused in one line before anything is read."""
    Path("file").write_text("")
    status, out, err = scan("--format", "json", "--output", target)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert f"cannot write `{target}`" in err


def test_a_write_that_fails_leaves_the_old_file(scan: Scan, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the disk refuses at the end, the file is what it was, nothing lies beside it, and one line says why."""
    Path("out").write_text("older")

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    status, out, err = scan("--format", "json", "--output", "out")
    assert (status, out, err) == (2, "", "keydrift: cannot write `out`: No space left on device\n")
    assert [(each.name, each.read_text()) for each in Path().iterdir()] == [("out", "older")]


@pytest.mark.parametrize(("command", "file"), [("rehearse", "none.json"), ("doctor", None)])
@pytest.mark.parametrize("form", ["html", "sarif", "ocsf"])
def test_other_commands_say_what_they_write(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str, file: str | None, form: str
) -> None:
    """A format that only `scan` writes is refused elsewhere, in one line."""
    monkeypatch.setattr(sys, "argv", ["keydrift", command, *([file] if file else []), "--format", form])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert f"`{command}` cannot write `{form}`: use table or json" in capsys.readouterr().err
