"""What people see: alerts and verdicts that can be read at a glance, and commands that can be copied."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import pytest
from rich.console import Console

from keydrift.console import print_alert, progress_after_a_while
from keydrift.tables import ALERT_COLUMNS

LONG = "az role assignment create --assignee-object-id 1 --role 'Key Vault Crypto User' --scope /subscriptions/" + "x" * 200


def _row(**members: object) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(ALERT_COLUMNS)
    row |= {
        "Kind": "opened",
        "Severity": "High",
        "Verdict": "lost",
        "Title": "No role assignment reaches the backup identity: key k1 in kv1",
        "Summary": "no role assignment at or above the key reaches it",
        "Missing": [],
        "Consumers": ["/subscriptions/s/resourceGroups/rg1/providers/Microsoft.Compute/virtualMachines/vm1"],
        "ConsumerCount": 1,
        "ProtectedItemCount": 1,
        "Remediation": "",
        "ActorConfidence": "none",
        "DetectedVia": "event",
    }
    return row | members


def _shown(row: dict[str, Any], note: str | None = None, width: int = 100) -> str:
    out = io.StringIO()
    print_alert(Console(file=out, width=width, color_system=None), row, note)
    return out.getvalue()


def test_an_alert_tells_what_who_and_what_is_endangered() -> None:
    """An alert shows its kind, severity and title, who did it and how sure that is, and what it endangers."""
    row = _row(ActorName="iam-admin@contoso.com", ActorIp="203.0.113.7", ActorConfidence="certain", OperationName="delete")
    lines = _shown(row, "0.1 s").splitlines()
    assert lines[0].startswith("OPENED High No role assignment")
    assert any("iam-admin@contoso.com from 203.0.113.7 (certain), by delete" in line for line in lines)
    assert any(line.strip().startswith("endangers") and "vm1 (consumers: 1, protected items: 1)" in line for line in lines)
    assert any(line.strip().startswith("time") and "0.1 s" in line for line in lines)


@pytest.mark.parametrize(
    ("actor", "shown"),
    [
        ({"ActorName": "n", "ActorObjectId": "o", "ActorAppId": "a"}, "n ("),
        ({"ActorObjectId": "o", "ActorAppId": "a"}, "o ("),
        ({"ActorAppId": "a"}, "a ("),
        ({}, "nobody is named; found by sweep"),
    ],
)
def test_the_actor_is_shown_by_the_best_name_there_is(actor: dict[str, str], shown: str) -> None:
    """A name goes before an object id, that before an app id; where nobody is named it says how the drift was found."""
    assert shown in _shown(_row(**actor, DetectedVia="sweep"))


def test_a_repair_is_one_line_that_can_be_copied() -> None:
    """A command is never wrapped, however narrow the terminal."""
    lines = _shown(_row(Remediation=f"{LONG}\naz keyvault recover --name kv1"), width=60).splitlines()
    assert [line for line in lines if line.rstrip().endswith(LONG)]
    assert [line for line in lines if line.rstrip().endswith("az keyvault recover --name kv1")]


def test_many_consumers_are_counted_and_a_few_named() -> None:
    """Of many consumers five are named and all are counted."""
    shown = _shown(_row(Consumers=[f"/x/vm{n}" for n in range(50)], ConsumerCount=60), width=200)
    assert "vm0, vm1, vm2, vm3, vm4 (consumers: 60" in shown
    assert "vm5" not in shown


def test_a_resolved_alert_tells_of_the_outage() -> None:
    """A repair is shown as such, with the outage; it endangers nothing."""
    shown = _shown(_row(Kind="resolved", Verdict="held", Severity="Informational", OutageSeconds=0))
    assert shown.startswith("RESOLVED Informational")
    assert "0 s" in shown
    assert "endangers" not in shown


def test_markup_in_a_name_is_text() -> None:
    """What looks like the terminal library's markup, or ends a tag, is shown as it stands."""
    shown = _shown(_row(Title="key [red]k1[/] in kv1", ActorName="[bold]x[/bold]", Summary="[/nonsense]", Missing=["[link]"]))
    for text in ("[red]k1[/]", "[bold]x[/bold]", "[/nonsense]", "[link]"):
        assert text in shown


async def test_progress_that_was_not_needed_leaves_no_trace(capsys: pytest.CaptureFixture[str]) -> None:
    """Work that is done at once shows no progress: stderr stays empty, so that an error is one line."""
    with progress_after_a_while() as progress:
        progress.add_task("reading", total=2)
        await asyncio.sleep(0)
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "")


async def test_progress_shows_itself_after_a_while(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Work that takes longer shows its progress on stderr, never on stdout."""
    monkeypatch.setattr("keydrift.console._PROGRESS_AFTER_S", 0.0)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress_after_a_while() as progress:
        progress.add_task("reading key stores", total=2)
        await asyncio.sleep(0.2)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "reading key stores" in shown.err


@pytest.mark.parametrize(("terminal", "shown"), [(False, False), (True, True)])
async def test_progress_shows_itself_in_a_terminal_only(terminal: bool, shown: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work that takes a while shows its progress in a terminal, and not one byte of it anywhere else."""
    written = io.StringIO()
    monkeypatch.setattr("keydrift.console.stderr", lambda: Console(file=written, force_terminal=terminal))
    monkeypatch.setattr("keydrift.console._PROGRESS_AFTER_S", 0.0)
    with progress_after_a_while() as progress:
        progress.add_task("reading", total=None)
        await asyncio.sleep(0.01)
    assert bool(written.getvalue()) is shown
