"""The page with 5,000 key bindings, in headless Chromium: how large, how soon painted, how much work (`make bench`).

The tenant of `sweep_tenant` is scanned by the command itself on simulated Azure, and the page it writes is opened from a file, a
few times in turn with an empty page: the floor. Nothing is asserted of time.
"""

from __future__ import annotations

import argparse
import gzip
import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from figures import summary
from playwright.sync_api import Browser, sync_playwright
from results import Line, Section
from rich.console import Console
from rich.table import Table
from sweep_tenant import Size, generated

from keydrift.page.render import page

APP = Path(__file__).resolve().parents[1]
BINDINGS, RUNS = 5000, 7
_SCAN = "from keydrift.cli import main; main()"
_PAINT = """new Promise(resolve => {
    const seen = () => performance.getEntriesByName('first-contentful-paint')[0];
    const look = () => seen() ? resolve(seen().startTime) : requestAnimationFrame(look);
    look();
})"""
_FILTER = """() => new Promise(resolve => {
    const box = document.getElementById('q');
    const began = performance.now();
    box.value = 'vm1';
    box.dispatchEvent(new Event('input'));
    document.body.offsetHeight;
    resolve(performance.now() - began);
})"""
_EMPTY = "<!doctype html><html lang=en><title>empty</title><p>empty"
type Times = dict[str, list[float]]


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description="The page with many key bindings, in headless Chromium.")
    parser.add_argument("--bindings", type=int, default=BINDINGS, metavar="N", help=f"key bindings, at least 40 ({BINDINGS})")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    asked = parser.parse_args()
    if asked.bindings < 40:
        parser.error("expected at least 40 key bindings")
    report = measure(asked.bindings)
    if asked.json:
        print(json.dumps(report, indent=2))
    else:
        show(Console(), report)


def measure(bindings: int) -> dict[str, object]:
    """Sizes in bytes, times in milliseconds."""
    with tempfile.TemporaryDirectory(prefix="keydrift-bench-") as folder, sync_playwright() as playwright:
        document = scanned(bindings, Path(folder))
        rendering, html = _rendered(document)
        written, empty = Path(folder) / "page.html", Path(folder) / "empty.html"
        written.write_text(html, encoding="utf-8")
        empty.write_text(_EMPTY, encoding="utf-8")
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        taken: Times = {}
        nodes = 0
        for run in range(RUNS + 1):
            floor, _ = _opened(browser, empty, filters=False)
            times, nodes = _opened(browser, written, filters=True)
            if run:  # the first one warms the browser up
                for name, value in {**times, "floor_first_paint": floor["first_paint"]}.items():
                    taken.setdefault(name, []).append(value / 1000)
        version = browser.version
        browser.close()
    return {
        "python": platform.python_version(),
        "chromium": version,
        "bindings": len(document["bindings"]),  # type: ignore[arg-type]
        "bytes": len(html.encode()),
        "gzip_bytes": len(gzip.compress(html.encode(), 6)),
        "document_gzip_bytes": len(gzip.compress(json.dumps(document).encode(), 6)),
        "nodes": nodes,
        "render": summary(rendering),
        **{name: summary(values) for name, values in taken.items()},
    }


def scanned(bindings: int, folder: Path) -> dict[str, object]:
    """What `keydrift scan` shows of a generated tenant with about as many key bindings."""
    tenant, result = folder / "tenant.json", folder / "scan.json"
    tenant.write_text(json.dumps(generated(Size.of(bindings / 20_000))), encoding="utf-8")
    command = [sys.executable, "-c", _SCAN, "scan", "--tenant", str(tenant), "--format", "json", "--output", str(result)]
    ended = subprocess.run(command, cwd=APP, capture_output=True, text=True, check=False)
    if ended.returncode not in (0, 1, 3):
        sys.exit(ended.stderr)
    read: dict[str, object] = json.loads(result.read_text(encoding="utf-8"))
    return read


def chromium() -> str:
    """The path of a Chromium, as the browser tests find it."""
    found = subprocess.run([APP / ".ci" / "chromium"], capture_output=True, text=True, check=False)
    if found.returncode != 0:
        sys.exit(found.stderr)
    return found.stdout.strip()


def _rendered(document: dict[str, object]) -> tuple[list[float], str]:
    times: list[float] = []
    html = ""
    for _ in range(RUNS):
        began = time.perf_counter()
        html = page(document)
        times.append(time.perf_counter() - began)
    return times, html


def _opened(browser: Browser, path: Path, *, filters: bool) -> tuple[dict[str, float], int]:
    """Milliseconds until the first paint and of the main thread's work until then and after, in a context of its own."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    tab = context.new_page()
    session = context.new_cdp_session(tab)
    session.send("Performance.enable")
    tab.goto(path.as_uri(), wait_until="load")
    times = {"first_paint": float(tab.evaluate(_PAINT))}
    metrics = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
    times["main_thread"] = metrics["TaskDuration"] * 1000
    times["script"] = metrics["ScriptDuration"] * 1000
    nodes = int(tab.evaluate("document.querySelectorAll('*').length"))
    if filters:
        times["filter"] = float(tab.evaluate(_FILTER))
    context.close()
    return times, nodes


_LINES = {
    "render": "rendered by Python",
    "first_paint": "first paint",
    "floor_first_paint": "  floor: an empty page's",
    "main_thread": "main thread's work at load",
    "script": "  of it, script",
    "filter": "one search over all of them, drawn",
}


def section(report: dict[str, Any]) -> Section:
    """The report beside an empty page."""
    paint, floor = report["first_paint"]["p50_ms"], report["floor_first_paint"]["p50_ms"]
    lines = (
        Line(what="size as gzip sends it", ours=report["gzip_bytes"] / 1000, unit="KB", goal="under 300 KB"),
        Line(what="first paint, p50", ours=paint, theirs=floor, beside="an empty page", unit="ms", goal="under 1 s"),
        Line(what="main thread's work at load, p50", ours=report["main_thread"]["p50_ms"], unit="ms"),
        Line(what="rendered by Python, p50", ours=report["render"]["p50_ms"], unit="ms"),
    )
    note = f"Headless Chromium {report['chromium']}."
    return Section(title=f"8. The page with {report['bindings']:,} key bindings", lines=lines, notes=(note,))


def show(console: Console, report: dict[str, object]) -> None:
    """The report as a small table."""
    table = Table(title=f"The page with {report['bindings']:,} key bindings", title_justify="left", box=None, header_style="bold")
    table.add_column("ms", min_width=38)
    for column in ("n", "min", "p50", "max"):
        table.add_column(column, justify="right")
    for name, label in _LINES.items():
        figures = report[name]
        assert isinstance(figures, dict)
        table.add_row(label, str(figures["n"]), *(f"{figures[f'{column}_ms']:.1f}" for column in ("min", "p50", "max")))
    console.print(table, "")
    grid = Table.grid(padding=(0, 2))
    for label, name in (
        ("Page, KB", "bytes"),
        ("  as gzip sends it, KB", "gzip_bytes"),
        ("  the same posture as JSON, gzip, KB", "document_gzip_bytes"),
    ):
        size = report[name]
        assert isinstance(size, int)
        grid.add_row(label, f"{size / 1000:,.0f}")
    grid.add_row("Elements in the document at load", str(report["nodes"]))
    grid.add_row("Chromium", str(report["chromium"]))
    console.print(grid)


if __name__ == "__main__":
    main()
