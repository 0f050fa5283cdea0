"""What is installed is what was chosen: every pin has a hash, the SBOM lists exactly the pins, and an audit does not pretend."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = Path(__file__).resolve().parents[2]
PINNED = ("requirements.txt", "requirements-dev.txt", ".ci/checkov.txt", ".ci/fuzz.txt")
LOCK = ROOT / "tests/support/node/package-lock.json"
_PIN = re.compile(r"([A-Za-z0-9._-]+)(\[[^]]*\])?==([^\s;]+)( ;.*)?")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def pins(name: str) -> dict[str, tuple[str, list[str]]]:
    """Each requirement's version and hashes. Fails on a line that is neither a pin nor its hash."""
    found: dict[str, tuple[str, list[str]]] = {}
    for entry in (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        text = entry.partition("#")[0].strip() if not entry.lstrip().startswith("#") else ""
        if not text:
            continue
        pin = _PIN.match(text)
        assert pin, f"{name}: `{text[:80]}` is not pinned"
        found[f"{pin[1]}{pin[4] or ''}".partition("--hash")[0].strip()] = (pin[3], _HASH.findall(text))
    return found


@pytest.mark.parametrize("name", PINNED)
def test_every_pin_has_its_hashes(name: str) -> None:
    """Every package is pinned to one version and to the SHA-256 of its files."""
    found = pins(name)
    assert found
    assert [package for package, (_, hashes) in found.items() if not hashes] == []


def test_every_requirements_file_is_looked_at() -> None:
    """A new file of pins is held to the same."""
    beside = [*ROOT.glob("requirements*.txt"), *(ROOT / ".ci").glob("*.txt")]
    assert {path.relative_to(ROOT).as_posix() for path in beside} == set(PINNED)


def test_every_install_asks_for_hashes() -> None:
    """No target installs a pinned file without `--require-hashes`, and npm installs by its lock file."""
    lines = [line for line in (ROOT / "Makefile").read_text(encoding="utf-8").splitlines() if "pip install" in line]
    assert [line for line in lines if " -r " in line and "--require-hashes" not in line] == []
    assert len([line for line in lines if " -r " in line]) >= 3


def test_every_node_package_has_its_integrity() -> None:
    """npm's lock file names the SHA-512 of every package."""
    packages = json.loads(LOCK.read_text(encoding="utf-8"))["packages"]
    missing = [name for name, each in packages.items() if name and not str(each.get("integrity", "")).startswith("sha512-")]
    assert len(packages) > 100
    assert missing == []


def test_what_is_declared_is_pinned() -> None:
    """Every dependency of the deployed package is in the file that Azure installs, and nothing of the laptop is."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned = {each.partition(" ")[0].lower() for each in pins("requirements.txt")}
    assert {re.split(r"[<>=\[]", each)[0] for each in declared["dependencies"]} <= pinned
    assert not {"duckdb", "typer", "pytest", "hypothesis", "atheris"} & pinned


# --- the SBOM --------------------------------------------------------------------------------------------------------------


def sbom(folder: Path, validate: str) -> str:
    """What `make sbom` writes."""
    path = folder / "sbom.cdx.json"
    made = subprocess.run(
        ["make", "--no-print-directory", "sbom", f"SBOM={path}", f"PY={sys.executable}", "STAMP=", f"ARGS={validate}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    return path.read_text(encoding="utf-8")


def test_the_sbom_lists_what_is_deployed_and_is_the_same_every_time(tmp_path: Path) -> None:
    """CycloneDX 1.6, valid by its strict schema: the pins of requirements.txt with their hashes, each once, and nothing else; a
    second run, elsewhere, gives the same bytes: no time, no serial number, no path of this machine."""
    text = sbom(tmp_path, "--no-validate")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    document: dict[str, Any] = json.loads(text)
    listed = {
        each["name"]: (each["version"], [part["content"] for part in each["externalReferences"][0]["hashes"]])
        for each in document["components"]
    }
    expected = {name.partition(" ")[0]: (version, hashes) for name, (version, hashes) in pins("requirements.txt").items()}
    assert listed == expected
    assert len(document["components"]) == len(expected)
    assert document["metadata"]["component"]["name"] == "keydrift"
    assert str(ROOT) not in text
    (tmp_path / "again").mkdir()
    assert sbom(tmp_path / "again", "--no-validate") == text


# --- the audit -------------------------------------------------------------------------------------------------------------


def audit() -> Any:
    spec = importlib.util.spec_from_file_location("keydrift_audit", ROOT / ".ci" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CLEAN = {"name": "a", "version": "1", "vulns": []}
SKIPPED = {"name": "b", "skip_reason": "not found"}
BAD = {"name": "c", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"]}]}


@pytest.mark.parametrize(
    ("report", "status", "says"),
    [
        (None, 2, "not audited: the advisories cannot be reached"),
        ({}, 2, "no package was read"),
        ({"dependencies": [CLEAN]}, 0, "1 packages, no known vulnerability"),
        ({"dependencies": [CLEAN, SKIPPED]}, 2, "1 of 2 packages not audited"),
        ({"dependencies": [CLEAN, BAD]}, 1, "c 1: PYSEC-1, mended in 2"),
        ({"dependencies": [SKIPPED, BAD]}, 1, "PYSEC-1"),
    ],
)
def test_an_audit_that_could_not_be_made_is_no_clean_one(report: Any, status: int, says: str) -> None:
    """Only a report that covers every package ends with 0."""
    found, lines = audit().judged("requirements.txt", report)
    assert found == status
    assert says in "\n".join(lines)


def test_every_file_of_pins_is_audited() -> None:
    """The audit covers what is installed anywhere here."""
    assert set(audit().FILES) == set(PINNED)


def test_without_a_network_the_audit_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a proxy that is not there, the whole program says that nothing was audited, and fails."""
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    module = audit()
    monkeypatch.setattr(module, "FILES", (".ci/fuzz.txt",))
    assert module.main() == 2
