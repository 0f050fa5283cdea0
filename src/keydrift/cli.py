"""The command line: `keydrift scan`, `keydrift rehearse`, `keydrift demo`, `keydrift host`.

Results go to stdout, progress, logs and errors to stderr; an error is one line that says what to do, with exit status 2. What
stands in for Azure on a laptop is imported only by the commands that need it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer
import typer.exceptions
from rich.console import Console

from keydrift import __version__, bootstrap
from keydrift.console import progress_after_a_while
from keydrift.errors import ConfigError
from keydrift.facts import Absent, Unread
from keydrift.logs import to_stderr
from keydrift.model import State
from keydrift.reading import reading
from keydrift.scan import ScanResult, scan
from keydrift.scan_output import Format, destination, write_scan
from keydrift.settings import Settings

if TYPE_CHECKING:
    from keydrift.doctor.facts import Check
    from keydrift.ports import Clock, Consumers

app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, help="Detects when Azure Backup loses access to its keys."
)


class FailOn(StrEnum):
    """The level from which `scan` exits with 1."""

    LOST = "lost"
    AT_RISK = "at_risk"


WatchlistFile = Annotated[
    Path | None, typer.Option("--watchlist", help="Key bindings and exemptions declared by hand.", metavar="FILE")
]
TenantFile = Annotated[Path | None, typer.Option("--tenant", help="Scan a tenant file instead of Azure.", metavar="FILE")]


@app.command("scan")
def scan_command(
    tenant: TenantFile = None,
    subscription: Annotated[list[str] | None, typer.Option(help="Only this subscription; may be repeated.", metavar="ID")] = None,
    management_group: Annotated[str | None, typer.Option(help="Only the subscriptions below it.", metavar="ID")] = None,
    form: Annotated[Format, typer.Option("--format", help="For people, a browser or programs.")] = Format.TABLE,
    output: Annotated[
        Path | None, typer.Option("--output", help="Write to this file instead of stdout; - is stdout.", metavar="FILE")
    ] = None,
    fail_on: Annotated[FailOn, typer.Option(help="Exit with 1 from this level on.")] = FailOn.LOST,
    watchlist: WatchlistFile = None,
) -> None:
    """Find every key that Azure Backup depends on, and whether it may still be used."""
    to = destination(form, output)
    result, clock = asyncio.run(_scan(tenant, subscription or [], management_group, watchlist))
    status = result.exit_status(State(fail_on.value))
    write_scan(result, clock.now(), form, to, exit_status=status)
    raise typer.Exit(status)


async def _scan(
    tenant: Path | None, subscriptions: Sequence[str], group: str | None, watchlist: Path | None
) -> tuple[ScanResult, Clock]:
    if tenant is None:
        clock = bootstrap.SystemClock()
        return await _scan_azure(_settings(watchlist), clock, subscriptions, group), clock
    _needs_local()
    from keydrift_local.laptop import serving  # noqa: PLC0415
    from keydrift_local.tenant_file import load_tenant  # noqa: PLC0415

    with serving(load_tenant(tenant)) as laptop:
        return await _scan_azure(_settings(watchlist), laptop.clock, subscriptions, group), laptop.clock


def _settings(watchlist: Path | None) -> Settings:
    settings = Settings.from_environment(os.environ)
    # What a person types is relative to where they are, not to the app
    return replace(settings, watchlist=str(watchlist.absolute())) if watchlist else settings


async def _scan_azure(settings: Settings, clock: Clock, subscriptions: Sequence[str], group: str | None) -> ScanResult:
    reads = reading(settings, clock)
    try:
        wanted = await _subscriptions(reads.consumers, subscriptions or settings.subscriptions, group)
        policy = reads.policy
        if policy.tenant_id is None:
            tenant = await reads.consumers.tenant_of(wanted[0])
            policy = replace(policy, tenant_id=tenant if isinstance(tenant, str) else None)
        with progress_after_a_while() as progress:
            task = progress.add_task("reading", total=None)
            return await scan(
                consumers=reads.consumers,
                bulk=reads.bulk,
                clock=clock,
                policy=policy,
                subscriptions=wanted,
                progress=lambda what, done, total: progress.update(task, description=what, completed=done, total=total or None),
            )
    finally:
        await reads.close()


async def _subscriptions(consumers: Consumers, wanted: Sequence[str], group: str | None) -> tuple[str, ...]:
    """The subscriptions to scan. Raises ConfigError where nothing can be read or one asked for is not there."""
    seen = await (consumers.subscriptions_below(group) if group else consumers.subscriptions())
    match seen:
        case Unread() as unread:
            status = f"HTTP {unread.status} " if unread.status else ""
            raise ConfigError(f"cannot read the {unread.source} ({status}{unread.code}): {unread.repair}")
        case Absent():
            raise ConfigError(f"no management group is called `{group}`, or it may not be read")
        case _:
            visible = {each.lower(): each for each in seen}
    missing = [each for each in wanted if each.lower() not in visible]
    if missing:
        raise ConfigError(f"no subscription `{missing[0]}` can be read: check the id, or give the identity Reader there")
    if not visible:
        raise ConfigError("no subscription can be read: give the identity Reader on at least one")
    return tuple(visible[each.lower()] for each in wanted) if wanted else tuple(visible.values())


@app.command()
def doctor(
    tenant: Annotated[Path | None, typer.Option("--tenant", help="Examine a tenant file instead.", metavar="FILE")] = None,
    output: Annotated[Format, typer.Option("--format", help="For people or for programs.")] = Format.TABLE,
    send_test: Annotated[bool, typer.Option("--send-test", help="Send one marked row to Log Analytics.")] = False,
    probe: Annotated[bool, typer.Option("--probe", help="Settle by reads what documents leave open about Azure.")] = False,
) -> None:
    """Check the monitor's own access, settings, state and event subscriptions, and say what would repair each."""
    from keydrift.doctor.facts import exit_status  # noqa: PLC0415
    from keydrift.doctor.report import checks_document, print_checks  # noqa: PLC0415

    _table_or_json("doctor", output)
    checks, clock = asyncio.run(_doctor(tenant, send_test=send_test, probing=probe))
    if output is Format.JSON:
        sys.stdout.write(json.dumps(checks_document(checks, clock.now()), indent=2) + "\n")
    else:
        print_checks(Console(), checks)
    raise typer.Exit(exit_status(checks))


async def _doctor(tenant: Path | None, *, send_test: bool, probing: bool) -> tuple[tuple[Check, ...], Clock]:
    from keydrift.doctor.examine import examine  # noqa: PLC0415
    from keydrift.doctor.probe import probe  # noqa: PLC0415

    async def run(settings: Settings, clock: Clock) -> tuple[tuple[Check, ...], Clock]:
        async with bootstrap.examined(settings, os.environ, clock) as examined:
            checks = await examine(examined, send_test=send_test)
            return (*checks, *(await probe(examined) if probing else ())), clock

    if tenant is None:
        return await run(Settings.from_environment(os.environ), bootstrap.SystemClock())
    _needs_local()
    from keydrift_local.laptop import serving  # noqa: PLC0415
    from keydrift_local.tenant_file import load_tenant  # noqa: PLC0415

    with serving(load_tenant(tenant)) as laptop, TemporaryDirectory(prefix="keydrift-") as folder:
        settings = Settings.from_environment(os.environ)
        if not os.environ.get("KEYDRIFT_STATE"):
            settings = replace(settings, state=f"sqlite:{folder}/state.db")
        return await run(settings, laptop.clock)


@app.command()
def rehearse(
    scenario: Annotated[Path, typer.Argument(help="A scenario file (docs/formats).", metavar="FILE")],
    output: Annotated[Format, typer.Option("--format", help="For people or for programs.")] = Format.TABLE,
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 unless the alerts are those the file expects.")] = False,
) -> None:
    """Play a scenario file on a simulated tenant, through the real function app, and show the alerts."""
    _table_or_json("rehearse", output)
    _needs_local()
    from keydrift_local.rehearsal_command import run_rehearsal  # noqa: PLC0415

    raise typer.Exit(asyncio.run(run_rehearsal(scenario, as_json=output is Format.JSON, check=check)))


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="End after the story instead of staying up.")] = False,
    port: Annotated[int, typer.Option(help="Where the function app listens; 0 takes a free one.")] = 0,
) -> None:
    """Tell the story of four lost keys on a simulated tenant, live."""
    _needs_local()
    from keydrift_local.demo import run_demo  # noqa: PLC0415

    raise typer.Exit(asyncio.run(run_demo(once=once, port=port)))


@app.command()
def host(
    tenant: Annotated[Path, typer.Option("--tenant", help="The tenant file to serve.", metavar="FILE")],
    port: Annotated[int, typer.Option(help="Where the function app listens.")] = 7071,
) -> None:
    """Run the function app on this machine, on a simulated tenant, with func's addresses."""
    _needs_local()
    from keydrift_local.host_command import run_host  # noqa: PLC0415

    raise typer.Exit(asyncio.run(run_host(tenant, port)))


def _table_or_json(command: str, output: Format) -> None:
    if output not in (Format.TABLE, Format.JSON):
        raise ConfigError(f"`{command}` cannot write `{output}`: use table or json")


def _needs_local() -> None:
    if find_spec("keydrift_local") is None:
        raise ConfigError("this command needs the package `keydrift_local`: run it from a checkout after `make setup`")


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"keydrift {__version__}\n")
        raise typer.Exit


@app.callback()
def options(
    verbose: Annotated[bool, typer.Option("--verbose", help="Show the log on stderr.")] = False,
    version: Annotated[  # noqa: ARG001  # answered before a command is asked for
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options of every command."""
    to_stderr(verbose=verbose)


def main() -> None:
    """The entry point: every expected failure is one line on stderr and exit status 2."""
    try:
        status = app(sys.argv[1:] or ["--help"], standalone_mode=False)
    except typer.Abort:
        sys.exit(130)
    except typer.exceptions.TyperException as error:
        _complain(error.format_message())
    except ConfigError as error:
        _complain(str(error))
    else:
        sys.exit(status if isinstance(status, int) else 0)


def _complain(message: str) -> None:
    line = " ".join(message.split())
    sys.stderr.write(f"keydrift: {line}\n")
    sys.exit(2)
