"""The archive as it is deployed: what is in it, that it imports, and that Microsoft's worker finds every function.

A broken import makes functions vanish without an error, so this is checked on a copy elsewhere, with the deployed packages only.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from support.deployed import deployed_files, deployed_python, unpack

_IMPORT = """
import json, os, sys

layout, asked = sys.argv[1], []

def watch(event, arguments):
    forbidden = ("socket.", "subprocess.", "os.system", "os.mkdir", "os.remove", "os.rename", "sqlite3.", "http.", "urllib.")
    writes = event == "open" and any(mark in str(arguments[1] or "r") for mark in "wax+")
    settings = event == "open" and str(arguments[0]).endswith(("settings.json", "host.json"))
    if event.startswith(forbidden) and event != "socket.__new__" or writes or settings:
        asked.append([event, repr(arguments)[:200]])

sys.path.insert(0, layout)
sys.addaudithook(watch)
import function_app
print(json.dumps({
    "asked": asked,
    "keydrift": sys.modules["keydrift"].__file__,
    "functions": sorted(each.get_function_name() for each in function_app.app.get_functions()),
    "modules": sorted(sys.modules),
}))
"""

_INDEX = """
import asyncio, dataclasses, json, sys
from pathlib import Path
from keydrift_local.worker import Worker

worker = asyncio.run(Worker.start(Path(sys.argv[1])))
print(json.dumps({
    "triggers": {each.function: dataclasses.asdict(each) for each in worker.triggers},
    "keydrift": sys.modules["keydrift"].__file__,
}))
"""

FUNCTIONS = [
    "deliver", "posture", "pulse", "receive", "receive_poison", "receive_queued", "recheck", "recheck_poison", "sweep",
    "take_back",
]  # fmt: skip


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack(tmp_path_factory.mktemp("wwwroot"))


def _tell(python: Path | str, script: str, layout: Path, **environment: str) -> dict[str, object]:
    ended = subprocess.run(
        [python, "-B", "-c", script, str(layout)],
        cwd="/",
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    told: dict[str, object] = json.loads(ended.stdout)
    return told


def test_the_archive_holds_the_product_and_nothing_else() -> None:
    """The archive holds the triggers, the product, its requirements and the host's settings; no test, document or stand-in."""
    files = [each.as_posix() for each in deployed_files()]
    product = [each for each in files if each.startswith("src/keydrift/")]
    assert {each for each in files if each not in product} == {"function_app.py", "host.json", "requirements.txt"}
    assert {"src/keydrift/monitor.py", "src/keydrift/access/verdict.py", "src/keydrift/adapters/http.py"} <= set(product)
    assert {"src/keydrift/page/page.html", "src/keydrift/page/page.css", "src/keydrift/page/page.js"} <= set(product)
    assert {Path(each).suffix for each in product} <= {".py", ".typed", ".html", ".css", ".js"}


@pytest.mark.parametrize(
    "environment",
    [{}, {"KEYDRIFT_STATE": "nonsense", "KEYDRIFT_TENANT_ID": "nobody", "KEYDRIFT_CLOUD": "AzureMoon"}],
    ids=["no settings", "wrong settings"],
)
def test_the_app_imports_with_the_deployed_packages(layout: Path, environment: dict[str, str]) -> None:
    """With only requirements.txt installed the app imports anywhere, reads no settings and does no I/O."""
    told = _tell(deployed_python(), _IMPORT, layout, **environment)
    modules = told["modules"]
    assert isinstance(modules, list)
    assert told["functions"] == FUNCTIONS
    assert told["asked"] == []
    assert str(told["keydrift"]).startswith(str(layout))
    assert not {"keydrift_local", "typer", "rich", "croniter", "duckdb"} & set(modules)
    # Import time is cold-start time: what talks to Azure is imported where it is used
    assert not {
        "azure.identity",
        "aiohttp",
        "azure.data.tables",
        "azure.storage.queue",
        "azure.storage.blob",
        "azure.eventgrid",
    } & set(modules)


def test_every_deployed_module_imports_with_the_deployed_packages(layout: Path) -> None:
    """No deployed module needs a package that is not deployed, but for the command line and what it shows in a terminal."""
    names = [each.with_suffix("").parts[1:] for each in deployed_files() if each.suffix == ".py"]
    modules = sorted(".".join(parts).removesuffix(".__init__") for parts in names if parts)
    kept = [
        each
        for each in modules
        if each not in ("keydrift.cli", "keydrift.console", "keydrift.doctor.report", "keydrift.scan_output")
    ]
    script = f"""
import importlib, json, sys
sys.path[:0] = [sys.argv[1] + "/src"]
for name in {kept!r}:
    importlib.import_module(name)
print(json.dumps({{"imported": len({kept!r})}}))
"""
    assert len(kept) > 40
    assert _tell(deployed_python(), script, layout) == {"imported": len(kept)}


def test_the_deployed_app_can_be_composed(layout: Path) -> None:
    """Every adapter that the settings can name is composed with the deployed packages alone."""
    script = """
import asyncio, json, os, sys
sys.path[:0] = [sys.argv[1] + "/src"]
from keydrift import bootstrap
from keydrift.settings import Settings

async def main():
    for state in ("https://account.table.core.windows.net", "AzureWebJobsStorage"):
        environment = {
            "KEYDRIFT_STATE": state,
            "AzureWebJobsStorage": "UseDevelopmentStorage=true",
            "KEYDRIFT_DCR_ENDPOINT": "https://dcr.ingest.monitor.azure.com",
            "KEYDRIFT_DCR_RULE_ID": "dcr-1",
            "KEYDRIFT_ALERT_TOPIC_ENDPOINT": "https://topic.westeurope-1.eventgrid.azure.net/api/events",
        }
        application = bootstrap.compose(Settings.from_environment(environment), environment, bootstrap.SystemClock())
        await application.close()
    print(json.dumps({"composed": True}))

asyncio.run(main())
"""
    assert _tell(deployed_python(), script, layout, IDENTITY_ENDPOINT="http://127.0.0.1:9", IDENTITY_HEADER="x") == {
        "composed": True
    }


def test_microsofts_worker_finds_every_function(layout: Path) -> None:
    """Microsoft's worker indexes the copy: every function with its trigger, queue, schedule and route, its settings resolved."""
    settings = {
        "KEYDRIFT_RECHECK_QUEUE": "rechecks",
        "KEYDRIFT_EVENTS_QUEUE": "events",
        "KEYDRIFT_SWEEP_SCHEDULE": "0 */15 * * * *",
        "KEYDRIFT_DELIVER_SCHEDULE": "30 */2 * * * *",
        "KEYDRIFT_PULSE_SCHEDULE": "15 */5 * * * *",
    }
    told = _tell(sys.executable, _INDEX, layout, PATH=os.environ["PATH"], **settings)
    triggers = told["triggers"]
    assert isinstance(triggers, dict)
    shown = {name: {key: value for key, value in each.items() if value and key != "function"} for name, each in triggers.items()}
    assert shown == {
        "receive": {"kind": "eventGridTrigger"},
        "receive_queued": {"kind": "queueTrigger", "queue": "events"},
        "receive_poison": {"kind": "queueTrigger", "queue": "events-poison"},
        "recheck": {"kind": "queueTrigger", "queue": "rechecks"},
        "recheck_poison": {"kind": "queueTrigger", "queue": "rechecks-poison"},
        "sweep": {"kind": "timerTrigger", "schedule": "0 */15 * * * *"},
        "deliver": {"kind": "timerTrigger", "schedule": "30 */2 * * * *"},
        "pulse": {"kind": "timerTrigger", "schedule": "15 */5 * * * *"},
        "take_back": {"kind": "timerTrigger", "schedule": "45 */10 * * * *"},
        "posture": {"kind": "httpTrigger", "route": "posture", "methods": ["GET"]},
    }
    assert str(told["keydrift"]).startswith(str(layout))


def test_the_poison_queue_is_the_hosts(layout: Path) -> None:
    """The poison function listens where the host moves what failed, with the host settings that are deployed."""
    queues = json.loads((layout / "host.json").read_text(encoding="utf-8"))["extensions"]["queues"]
    assert (queues["maxDequeueCount"], queues["messageEncoding"]) == (5, "base64")


def test_the_wheel_holds_the_page(tmp_path: Path) -> None:
    """The built package holds what the page is made of, as the deployed archive does."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=Path(__file__).resolve().parents[2], capture_output=True, timeout=120, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"keydrift/page/page.html", "keydrift/page/page.css", "keydrift/page/page.js", "keydrift/page/render.py"} <= names
