"""The demo: a story that a security engineer recognises, told by the product itself.

The same function app, entry points and adapters as in Azure, on a simulated tenant: only the changes are scripted. Each alert is
shown as it is accepted by the local Log Analytics.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from rich.console import Console
from rich.rule import Rule
from rich.table import Table

from keydrift.console import print_alert
from keydrift.errors import ConfigError
from keydrift.settings import SWEEP_SCHEDULE
from keydrift_local.devhost import DevHost
from keydrift_local.documents import JsonObject
from keydrift_local.host_command import interrupted
from keydrift_local.laptop import Laptop, hosting
from keydrift_local.log_tables import declare_tables
from keydrift_local.tenant_file import load_tenant

STORY = Path(__file__).parent / "story"
ALERTS = "KeyDriftAlerts_CL"
# The product's default is 15 minutes; nobody watches a demo that long
SWEEP_EVERY_S = 10
PATIENCE_S = 60.0

QUERY = """
KeyDriftAlerts_CL
| extend Ms = datetime_diff('millisecond', DetectedAt, OccurredAt)
| summarize arg_max(Sequence, Kind, OutageSeconds), Alerts = dcount(AlertId), DetectedMs = min(Ms)
    by KeyStore = KeyStoreName, Scenario
| project KeyStore, Scenario, Alerts, Last = Kind, DetectedMs, OutageSeconds
| order by KeyStore asc
""".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """A change to the tenant, who makes it, and how many alerts it has to lead to."""

    headline: str
    change: JsonObject
    actor: Mapping[str, str] | None
    alerts: int


def chapters() -> tuple[Chapter, ...]:
    """The story, from its file."""
    document = json.loads((STORY / "story.json").read_text())
    return tuple(
        Chapter(headline=each["headline"], change=each["change"], actor=each.get("actor"), alerts=each["alerts"])
        for each in document["chapters"]
    )


async def run_demo(*, once: bool, port: int) -> int:
    """Tell the story; with `once` end after it. Returns the exit status. Raises ConfigError."""
    console = Console()
    tenant = load_tenant(STORY / "tenant.json")
    with tempfile.TemporaryDirectory(prefix="keydrift-demo-") as folder:
        settings = {SWEEP_SCHEDULE: f"*/{SWEEP_EVERY_S} * * * * *"}
        async with hosting(tenant, Path(folder) / "state.db", port=port, settings=settings) as (laptop, host):
            declare_tables(laptop.azure.logs)
            teller = Teller(console, laptop, host)
            await teller.tell(chapters())
            if not once:
                base = f"http://127.0.0.1:{host.port}"
                console.print(f"\nThe function app stays up: {base}/api/posture (Ctrl-C ends it)")
                await interrupted()
    return 0


class Teller:
    """Makes the changes, and shows what comes of them."""

    def __init__(self, console: Console, laptop: Laptop, host: DevHost) -> None:
        self._console, self._laptop, self._host = console, laptop, host
        self._arrived: asyncio.Queue[tuple[float, JsonObject]] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def accepted(table: str, rows: Iterable[JsonObject]) -> None:
            if table == ALERTS:
                for row in rows:
                    loop.call_soon_threadsafe(self._arrived.put_nowait, (time.perf_counter(), row))

        laptop.azure.logs.on_rows = accepted

    async def tell(self, story: Sequence[Chapter]) -> None:
        """The whole story. Raises ConfigError where an alert does not come."""
        console = self._console
        console.print(Rule("keydrift: who took Azure Backup's keys away?"))
        console.print(f"A simulated tenant, and the function app on http://127.0.0.1:{self._host.port}. First, what is watched:")
        await self._first_sweep()
        for chapter in story:
            await self._chapter(chapter)
        console.print(Rule("Log Analytics, by KQL"))
        console.print(QUERY, style="dim", markup=False, highlight=False, soft_wrap=True)
        console.print(table_of(self._laptop.azure.logs.query(QUERY)))

    async def _first_sweep(self) -> None:
        async with aiohttp.ClientSession() as session:
            base = f"http://127.0.0.1:{self._host.port}"
            async with session.post(f"{base}/admin/functions/sweep", json={"input": ""}) as answer:
                answer.raise_for_status()
            deadline = time.perf_counter() + PATIENCE_S
            while time.perf_counter() < deadline:
                async with session.get(f"{base}/api/posture") as answer:
                    posture = await answer.json()
                if posture["bindings"]:
                    break
                await asyncio.sleep(0.1)
        # The first verdicts come one key store after another
        await asyncio.sleep(1.0)
        async with aiohttp.ClientSession() as session, session.get(f"{base}/api/posture") as answer:
            posture = await answer.json()
        self._console.print(table_of([_line(each) for each in posture["bindings"]]))

    async def _chapter(self, chapter: Chapter) -> None:
        self._console.print(Rule(chapter.headline))
        events = self._laptop.azure.change(chapter.change, chapter.actor)
        started = time.perf_counter()
        if events:
            await self._post(events)
        else:
            self._console.print(f"Azure emits no event for this: the sweep, here every {SWEEP_EVERY_S} s, has to find it.")
        for _ in range(chapter.alerts):
            try:
                arrived, row = await asyncio.wait_for(self._arrived.get(), PATIENCE_S)
            except TimeoutError:
                raise ConfigError(f"no alert within {PATIENCE_S:.0f} s for: {chapter.headline}") from None
            word = "event" if events else "change"
            print_alert(self._console, row, f"{arrived - started:.2f} s from {word} to alert")

    async def _post(self, events: list[JsonObject]) -> None:
        address = f"http://127.0.0.1:{self._host.port}/runtime/webhooks/EventGrid?functionName=receive"
        async with aiohttp.ClientSession() as session:
            for event in events:
                async with session.post(address, json=[event], headers={"aeg-event-type": "Notification"}) as answer:
                    answer.raise_for_status()


def _line(binding: Mapping[str, object]) -> JsonObject:
    consumers = binding["consumers"]
    assert isinstance(consumers, list)
    return {
        "Verdict": binding["verdict"],
        "Scenario": binding["scenario"],
        "Key": binding["key"],
        "Model": binding["permission_model"],
        "Consumers": len(consumers),
    }


def table_of(rows: Sequence[JsonObject]) -> Table:
    """Rows as a table, columns in their order."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in rows[0] if rows else ():
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    return table
