"""The `keydrift` command as a person and as a program use it: exit status, stdout, and one line on stderr for every mistake."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from keydrift import __version__
from keydrift.cli import main
from keydrift.model import PermissionModel, Scenario
from support import tenants

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-c", "from keydrift.cli import main; main()")
INSTALLED = Path(sys.executable).parent / "keydrift"
CASES = ROOT / "tests" / "scenario" / "cases"
LOST = CASES / "story.backup-vault-cmk.rbac.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one line that a failing command writes, and nothing else."""
        assert self.status == 2
        assert self.out == ""
        assert self.err.startswith("keydrift: ")
        assert self.err.count("\n") == 1
        return self.err.removeprefix("keydrift: ").rstrip("\n")


type Keydrift = Callable[..., Run]


@pytest.fixture
def keydrift(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Keydrift:
    """Runs the command in this process."""

    def run(*arguments: object) -> Run:
        monkeypatch.setattr(sys, "argv", ["keydrift", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        shown = capsys.readouterr()
        return Run(status=int(ended.value.code or 0), out=shown.out, err=shown.err)

    return run


def apart(*arguments: object, **environment: str) -> Run:
    """Runs the command in a process of its own, elsewhere."""
    ended = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd="/",
        env={"PATH": "/nonexistent", "HOME": "/nonexistent", "PYTHONPATH": str(ROOT / "src"), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Run(status=ended.returncode, out=ended.stdout, err=ended.stderr)


def healthy() -> dict[str, Any]:
    return tenants.healthy(Scenario.BACKUP_VAULT_CMK, PermissionModel.RBAC)


def written(folder: Path, document: object) -> Path:
    path = folder / "tenant.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def lost() -> dict[str, Any]:
    return {**healthy(), "roleAssignments": []}


def at_risk() -> dict[str, Any]:
    tenant = healthy()
    tenant["resources"][0]["properties"]["enablePurgeProtection"] = False
    return tenant


def unknown() -> dict[str, Any]:
    tenant = healthy()
    return {**tenant, "resources": [each for each in tenant["resources"] if "/vaults/kv1" not in each["id"]]}


# --- scan ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tenant", "options", "status"),
    [
        (healthy(), (), 0),
        (lost(), (), 1),
        (at_risk(), (), 0),
        (at_risk(), ("--fail-on", "at_risk"), 1),
        (lost(), ("--fail-on", "at_risk"), 1),
        (unknown(), (), 3),
        (unknown(), ("--fail-on", "at_risk"), 3),
        ({"tenantId": tenants.TENANT_ID}, (), 2),
        ({"tenantId": tenants.TENANT_ID, "resources": [tenants.key_vault(rbac=True)]}, (), 0),
    ],
    ids=[
        "held",
        "lost",
        "at risk",
        "at risk counts",
        "lost counts",
        "unknown",
        "unknown stays",
        "nothing to read",
        "no bindings",
    ],
)
def test_scan_tells_by_its_exit_status(
    keydrift: Keydrift, tmp_path: Path, tenant: object, options: tuple[str, ...], status: int
) -> None:
    """A scan exits with 0, 1, 2 or 3 as documented, in the table's format and in JSON alike."""
    path = written(tmp_path, tenant)
    assert keydrift("scan", "--tenant", path, *options).status == status
    assert keydrift("scan", "--tenant", path, "--format", "json", *options).status == status


def test_scan_in_json_is_the_documented_document(tmp_path: Path) -> None:
    """With `--format json` stdout is one JSON document with every documented member, and stderr has no part in it."""
    run = apart("--verbose", "scan", "--tenant", written(tmp_path, lost()), "--format", "json")
    document = json.loads(run.out)
    (binding,) = document["bindings"]
    assert run.status == 1
    assert list(document) == ["schema_version", "generated_at", "source", "monitor_version", "bindings", "unread"]
    assert (document["schema_version"], document["generated_at"]) == ("1", "2026-01-01T00:00:00.000Z")
    assert set(binding) >= {
        *("id", "scenario", "verdict", "severity", "key", "key_store_id", "permission_model", "principal", "consumers"),
        *("missing", "findings", "proof", "read_at"),
    }
    assert set(binding["principal"]) >= {"object_id", "app_id", "name", "kind"}
    (finding,) = binding["findings"]
    assert set(finding) >= {"code", "level", "summary", "evidence", "remediation"}
    shown = (binding["scenario"], binding["verdict"], binding["severity"], finding["code"], binding["key"])
    assert shown == ("backup-vault-cmk", "lost", "High", "role-assignment-absent", "https://kv1.vault.azure.net/keys/k1")
    assert binding["consumers"] == [tenants.arm_id("Microsoft.DataProtection/backupVaults", "bv1")]


def test_scan_in_json_names_what_was_not_read(keydrift: Keydrift, tmp_path: Path) -> None:
    """What could not be read is listed with its status and what would repair it."""
    document = json.loads(keydrift("scan", "--tenant", written(tmp_path, unknown()), "--format", "json").out)
    assert document["unread"]
    assert all(set(each) >= {"source", "status", "repair"} for each in document["unread"])


def test_scan_shows_what_is_lost_and_how_to_repair_it(keydrift: Keydrift, tmp_path: Path) -> None:
    """The table names the verdict, the finding and a command that can be copied in one piece."""
    run = keydrift("scan", "--tenant", written(tmp_path, lost()))
    assert "role-assignment-absent" in run.out
    assert any("az role assignment create" in line and line.rstrip().endswith("/vaults/kv1") for line in run.out.splitlines())
    assert run.out.rstrip().endswith("1 key bindings: 1 lost")
    assert run.err == ""


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--subscription", "00000000-0000-0000-0000-00000000dead"), "no subscription `00000000-0000-0000-0000-00000000dead`"),
        (("--management-group", "mg-nowhere"), "no management group is called `mg-nowhere`"),
        (("--subscription", "kv1"), "no subscription `kv1`"),
    ],
)
def test_a_scope_that_is_not_there_is_one_line(
    keydrift: Keydrift, tmp_path: Path, options: tuple[str, ...], complaint: str
) -> None:
    """A subscription or management group that cannot be read ends the scan with one line that names it."""
    assert complaint in keydrift("scan", "--tenant", written(tmp_path, healthy()), *options).complaint


def test_scan_reads_only_the_subscription_asked_for(keydrift: Keydrift, tmp_path: Path) -> None:
    """`--subscription`, in any letter case, leaves other subscriptions out."""
    tenant = healthy()
    tenant["resources"].append(tenants.key_vault("kv2", rbac=True, subscription="aaaaaaaa-0000-0000-0000-000000000002"))
    path = written(tmp_path, tenant)
    other = keydrift("scan", "--tenant", path, "--subscription", "AAAAAAAA-0000-0000-0000-000000000002", "--format", "json")
    own = keydrift("scan", "--tenant", path, "--subscription", tenants.SUBSCRIPTION, "--format", "json")
    assert [len(json.loads(run.out)["bindings"]) for run in (other, own)] == [0, 1]


def test_scan_of_a_management_group(keydrift: Keydrift, tmp_path: Path) -> None:
    """`--management-group` scans the subscriptions below it."""
    group = {"id": "/providers/Microsoft.Management/managementGroups/mg1", "subscriptions": [tenants.SUBSCRIPTION]}
    path = written(tmp_path, {**healthy(), "managementGroups": [group]})
    assert (
        len(json.loads(keydrift("scan", "--tenant", path, "--management-group", "mg1", "--format", "json").out)["bindings"]) == 1
    )


def test_without_credentials_a_scan_is_one_line() -> None:
    """Where nobody is signed in the scan says so in one line that tells what to do."""
    nowhere = "http://127.0.0.1:9"  # whatever looks for a credential beyond this machine finds nobody
    run = apart("scan", HTTP_PROXY=nowhere, HTTPS_PROXY=nowhere)
    assert "az login" in run.complaint


@pytest.mark.parametrize(
    ("name", "value"),
    [("KEYDRIFT_CLOUD", "AzureMoon"), ("KEYDRIFT_TENANT_ID", "contoso"), ("KEYDRIFT_KEY_EXPIRY_HORIZON_DAYS", "soon")],
)
def test_a_wrong_setting_is_one_line(keydrift: Keydrift, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """A setting with a wrong value ends the command with one line that shows the value."""
    monkeypatch.setenv(name, value)
    assert f"`{value}`" in keydrift("scan").complaint


# --- mistakes in files -------------------------------------------------------------------------------------------------

KV = tenants.vault_id()
EMPTY = {"tenantId": tenants.TENANT_ID}
STEPS: list[object] = [{"sweep": True}]


def _tenant_with(**members: object) -> dict[str, object]:
    return {**healthy(), **members}


TENANT_MISTAKES = {
    "no JSON": ("{", ":1:2: expected JSON"),
    "a list": ([], ": $: expected an object"),
    "no tenant id": ({}, ": $.tenantId: expected a non-empty string"),
    "a cloud of its own": (_tenant_with(cloud="AzureMoon"), ": $.cloud: expected one of AzureCloud"),
    "a time without offset": (_tenant_with(now="2026-01-01"), ": $.now: expected an RFC 3339 time"),
    "resources as an object": (_tenant_with(resources={}), ": $.resources: expected an array"),
    "a resource without id": (_tenant_with(resources=[{}]), ": $.resources[0].id: expected"),
    "half an id": (_tenant_with(resources=[{"id": f"{KV}/keys"}]), ": $.resources[0].id: expected the id of a resource"),
    "an assignment of nobody": (
        _tenant_with(roleAssignments=[{"id": f"{KV}/providers/Microsoft.Authorization/roleAssignments/r", "properties": {}}]),
        ": $.roleAssignments[0].properties.principalId: expected a string",
    ),
    "a member that is a number": (
        _tenant_with(directory={"groups": [{"id": "g", "members": [1]}]}),
        ": $.directory.groups[0].members[0]: expected",
    ),
}
SCENARIO_MISTAKES: dict[str, tuple[object, str]] = {
    "no JSON": ("[1,", ":1:4: "),
    "a list": ([], ": $: expected an object"),
    "no tenant": ({"steps": STEPS}, ": $.tenant: expected a path beside this file or a tenant"),
    "an unknown member": ({"tenant": EMPTY, "step": []}, ": $.step: expected only"),
    "a wrong tenant": ({"tenant": {"tenantId": 5}, "steps": STEPS}, ": $.tenant: $.tenantId: expected a non-empty string"),
    "no steps": ({"tenant": EMPTY}, ": $.steps: expected a list"),
    "a step of nothing": ({"tenant": EMPTY, "steps": [{}]}, ": $.steps[0]: expected exactly one of sweep"),
    "a step of two": (
        {"tenant": EMPTY, "steps": [{"sweep": True, "advance": "PT1M"}]},
        ": $.steps[0]: expected exactly one of sweep",
    ),
    "a sweep that is false": ({"tenant": EMPTY, "steps": [{"sweep": False}]}, ": $.steps[0].sweep: expected true"),
    "a duration in words": (
        {"tenant": EMPTY, "steps": [{"advance": "10 minutes"}]},
        ": $.steps[0].advance: expected an ISO 8601 duration",
    ),
    "a duration in years": (
        {"tenant": EMPTY, "steps": [{"advance": "P1Y"}]},
        ": $.steps[0].advance: expected an ISO 8601 duration",
    ),
    "a step back": ({"tenant": EMPTY, "steps": [{"advance": "-PT1M"}]}, ": $.steps[0].advance: expected an ISO 8601"),
    "an actor with a name": (
        {"tenant": EMPTY, "steps": [{"change": {"delete": KV}, "actor": {"name": "x"}}]},
        ": $.steps[0].actor.name: expected only appId, ip, objectId, upn here",
    ),
    "an actor that is a number": (
        {"tenant": EMPTY, "steps": [{"change": {"delete": KV}, "actor": {"upn": 5}}]},
        ": $.steps[0].actor.upn: expected a string",
    ),
    "silence that is a word": (
        {"tenant": EMPTY, "steps": [{"change": {"delete": KV}, "silent": "yes"}]},
        ": $.steps[0].silent: expected true or false",
    ),
    "an event that is a number": ({"tenant": EMPTY, "steps": [{"event": 5}]}, ": $.steps[0].event: expected an event"),
    "a setting that is none": (
        {"tenant": EMPTY, "settings": {"KEYDRIFT_COLOUR": "red"}, "steps": []},
        ": $.settings.KEYDRIFT_COLOUR: expected the name of a setting",
    ),
    "a setting that is an object": (
        {"tenant": EMPTY, "settings": {"KEYDRIFT_TABLE": {}}, "steps": []},
        ": $.settings.KEYDRIFT_TABLE: expected a string or a number",
    ),
    "an expectation that is text": (
        {"tenant": EMPTY, "steps": [], "expect": ["opened"]},
        ": $.expect[0]: expected an object",
    ),
    "a deletion of nothing": (
        {"tenant": EMPTY, "steps": [{"sweep": True}, {"change": {"delete": KV}}]},
        ": $.steps[1].change: change.delete: nothing has the id",
    ),
    "a change of no kind": (
        {"tenant": EMPTY, "steps": [{"change": {"remove": KV}}]},
        ": $.steps[0].change: change: expected exactly one of",
    ),
    "a fault without status": (
        {"tenant": EMPTY, "steps": [{"fault": {"match": "GET *"}}]},
        ": $.steps[0].fault: fault.status: expected an HTTP status",
    ),
    "a schedule that is none": (
        {"tenant": EMPTY, "settings": {"KEYDRIFT_SWEEP_SCHEDULE": "hourly"}, "steps": []},
        ": $.settings.KEYDRIFT_SWEEP_SCHEDULE: expected an NCRONTAB schedule",
    ),
    "a setting with a wrong value": (
        {"tenant": EMPTY, "settings": {"KEYDRIFT_TENANT_ID": "contoso"}, "steps": []},
        ": $.settings: `KEYDRIFT_TENANT_ID` is `contoso`: expected a GUID",
    ),
}


@pytest.mark.parametrize(("document", "complaint"), TENANT_MISTAKES.values(), ids=list(TENANT_MISTAKES))
def test_a_mistake_in_a_tenant_file_is_one_line(keydrift: Keydrift, tmp_path: Path, document: object, complaint: str) -> None:
    """A mistake in a tenant file is one line with the file, the JSON path and what was expected there."""
    path = written(tmp_path, document)
    assert keydrift("scan", "--tenant", path).complaint.startswith(f"{path}{complaint}")


@pytest.mark.parametrize(("document", "complaint"), SCENARIO_MISTAKES.values(), ids=list(SCENARIO_MISTAKES))
def test_a_mistake_in_a_scenario_file_is_one_line(keydrift: Keydrift, tmp_path: Path, document: object, complaint: str) -> None:
    """A mistake in a scenario file is one line with the file, the JSON path and what was expected there."""
    path = written(tmp_path, document)
    shown = keydrift("rehearse", path).complaint
    assert shown.startswith(str(path))
    assert complaint in shown


@pytest.mark.parametrize("arguments", [("scan", "--tenant"), ("rehearse",), ("host", "--tenant")])
def test_a_file_that_is_not_there_is_one_line(keydrift: Keydrift, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """A file that cannot be read is named in one line."""
    assert str(tmp_path / "none.json") in keydrift(*arguments, tmp_path / "none.json").complaint
    assert str(tmp_path) in keydrift(*arguments, tmp_path).complaint


def test_bytes_that_are_no_text_are_one_line(keydrift: Keydrift, tmp_path: Path) -> None:
    """A file that is not UTF-8, or a scenario nested without end, is one line too."""
    path = tmp_path / "file.json"
    for content in (b"\xff\xfe\x00", b'{"tenantId": "\xff"}'):
        path.write_bytes(content)
        assert str(path) in keydrift("rehearse", path).complaint
        assert str(path) in keydrift("scan", "--tenant", path).complaint
    path.write_bytes(b"[" * 200_000)
    assert str(path) in keydrift("rehearse", path).complaint


# --- arguments ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [(), ("--help",), ("scan", "--help"), ("rehearse", "--help"), ("demo", "--help")])
def test_help_is_no_mistake(keydrift: Keydrift, arguments: tuple[str, ...]) -> None:
    """Without an argument, or asked for help, the command shows help and exits with 0."""
    run = keydrift(*arguments)
    assert (run.status, run.err) == (0, "")
    assert "Usage: keydrift" in run.out


@pytest.mark.parametrize(
    "arguments",
    [
        ("--nonsense",),
        ("scan", "--nonsense"),
        ("sacn",),
        ("scan", "--format", "xml"),
        ("scan", "--fail-on", "unknown"),
        ("rehearse",),
        ("rehearse", "a.json", "b.json"),
        ("demo", "--port", "http"),
        ("host",),
        ("--verbose",),
    ],
    ids=" ".join,
)
def test_a_wrong_argument_is_one_line(keydrift: Keydrift, arguments: tuple[str, ...]) -> None:
    """An unknown option, command or value is one line on stderr and exit status 2."""
    assert keydrift(*arguments).complaint


def test_the_command_is_installed() -> None:
    """`make setup` puts a `keydrift` command beside its Python."""
    shown = subprocess.run([INSTALLED, "--version"], capture_output=True, text=True, timeout=60, check=True).stdout
    assert shown == f"keydrift {__version__}\n"


def test_the_version_is_shown(keydrift: Keydrift) -> None:
    """`--version` shows the version and exits with 0."""
    run = keydrift("--version")
    assert (run.status, run.out, run.err) == (0, f"keydrift {__version__}\n", "")


# --- rehearse ----------------------------------------------------------------------------------------------------------


def test_rehearse_in_json_is_one_alert_a_line() -> None:
    """With `--format json` stdout holds the delivered alerts alone, one JSON object a line; the log goes to stderr."""
    run = apart("--verbose", "rehearse", LOST, "--format", "json")
    rows = [json.loads(line) for line in run.out.splitlines()]
    assert run.status == 0
    assert [row["Kind"] for row in rows] == ["opened", "resolved"]
    assert "keydrift.monitor" in run.err


def test_rehearse_exits_with_0_whatever_was_alerted(keydrift: Keydrift) -> None:
    """Without `--check` a rehearsal that ran is a success, and says how many alerts there were."""
    run = keydrift("rehearse", LOST)
    assert run.status == 0
    assert run.out.rstrip().endswith("2 alerts")
    assert "OPENED" in run.out


def test_check_passes_where_the_alerts_are_those_expected(keydrift: Keydrift) -> None:
    """`--check` exits with 0 where the file's expectation is met."""
    run = keydrift("rehearse", LOST, "--check")
    assert (run.status, run.err) == (0, "")


def test_check_fails_with_a_diff(keydrift: Keydrift, tmp_path: Path) -> None:
    """`--check` exits with 1 and shows what was expected beside what was delivered."""
    document = json.loads(LOST.read_text())
    document["tenant"] = str(LOST.parent / document["tenant"])
    document["expect"][0]["Verdict"] = "at_risk"
    run = keydrift("rehearse", written(tmp_path, document), "--check", "--format", "json")
    assert run.status == 1
    assert '- "Verdict": "at_risk",' in run.err.replace("-  ", "- ")
    assert '+ "Verdict": "lost",' in run.err.replace("+  ", "+ ")
    assert len(run.out.splitlines()) == 2


def test_check_without_an_expectation_is_one_line(keydrift: Keydrift, tmp_path: Path) -> None:
    """`--check` on a file that expects nothing is a mistake of the caller's."""
    path = written(tmp_path, {"tenant": EMPTY, "steps": []})
    assert keydrift("rehearse", path, "--check").complaint.startswith(f"{path}: $.expect: expected a list of alerts")


def test_rehearse_leaves_nothing_behind(tmp_path: Path) -> None:
    """A rehearsal leaves no file where it ran and none in the temporary directory."""
    ended = subprocess.run(
        [*COMMAND, "rehearse", LOST],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert ended.stderr == b""
    assert list(tmp_path.iterdir()) == []


# --- demo --------------------------------------------------------------------------------------------------------------


def test_the_demo_ends_by_itself() -> None:
    """`keydrift demo --once` tells of four lost keys and four repairs, then exits with 0."""
    run = apart("demo", "--once", COLUMNS="200", PYTHONWARNINGS="error::ResourceWarning")
    assert (run.status, run.err) == (0, "")
    assert run.out.count("OPENED ") == 4
    assert run.out.count("RESOLVED ") == 4


def test_a_taken_port_is_one_line(tmp_path: Path, keydrift: Keydrift) -> None:
    """Where the port is taken the host says so in one line."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        run = subprocess.run(
            [*COMMAND, "host", "--tenant", written(tmp_path, healthy()), "--port", str(port)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (run.returncode, run.stdout, run.stderr.count("\n")) == (2, "", 1)
    assert str(port) in run.stderr
