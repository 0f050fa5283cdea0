"""The decisions and the event beside the peers: each side in its own process and environment, in turn.

Everybody gets the same vaults, assignments and event, and its answers are held against the plain answer of the work itself.
Without `--peers`, or where a peer cannot be installed, keydrift's figures stand alone (`python bench/beside.py`).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decision_work import BACKUP_APP, BACKUP_SERVICE, MORE_WORDS, WORDS, expected_policies, policy_vaults, role_work
from peer_environments import SCRIPTS, Peer
from results import Line, Section
from rich.console import Console

from keydrift_local.laptop import APP
from keydrift_local.local_azure import LocalAzure
from keydrift_local.tenant_file import parse_tenant

# A tenant with one vault, one machine and all that its backup needs is told by whoever tests it
sys.path.append(str(APP / "tests"))

from keydrift.model import PermissionModel, Scenario
from support import tenants
from support.events import resource_event

HERE = Path(__file__).parent
TURNS, VAULTS, POLICIES, EVENTS = 3, 1000, 5, 40
ASSIGNMENTS = (10, 100, 1000, 4000)
# So that every policy of every vault has to be compared
_WHITELISTED = {"keys": [*WORDS, *MORE_WORDS], "secrets": ["get", "list"]}
type Figures = dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side of a comparison: the interpreter and the script with its arguments, but for the work."""

    python: Path
    script: tuple[str, ...]

    def run(self, work: Path, environment: Mapping[str, str]) -> dict[str, Any]:
        """What it prints. Raises RuntimeError with its last words where it fails."""
        command = [str(self.python), *self.script, str(work)]
        surroundings = {**os.environ, **environment, "PYTHONPATH": str(HERE)}
        done = subprocess.run(command, cwd=APP, env=surroundings, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"`{self.script[0]}` failed: {(done.stderr.strip().splitlines() or ['without a word'])[-1]}")
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found


def in_turn(
    sides: Mapping[str, Side], work: Mapping[str, object], turns: int, environment: Mapping[str, str] | None = None
) -> dict[str, Figures]:
    """By side: the median over the turns of each figure. Raises RuntimeError where a side answers wrongly."""
    taken: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
    with tempfile.TemporaryDirectory(prefix="keydrift-bench-") as folder:
        file = Path(folder) / "work.json"
        file.write_text(json.dumps(work), encoding="utf-8")
        for _ in range(turns):
            for name, side in sides.items():
                found = side.run(file, environment or {})
                if found.get("answers", work.get("expected")) != work.get("expected"):
                    raise RuntimeError(f"{name} answers the question differently: its figures mean nothing")
                taken[name].append(found)
    return {name: _medians(found) for name, found in taken.items()}


def _medians(found: Sequence[Mapping[str, Any]]) -> Figures:
    names = [name for name, value in found[0].items() if isinstance(value, int | float)]
    return {name: statistics.median(each[name] for each in found) for name in names}


def _ours(script: str, *arguments: str) -> Side:
    return Side(python=Path(sys.executable), script=(str(HERE / script), *arguments))


def _theirs(peer: Peer, script: str) -> Side:
    return Side(python=peer.python(), script=(str(SCRIPTS / script),))


def policies(peers: frozenset[Peer], turns: int, vaults: int) -> Section:
    """Row 1: does the backup service hold get, list and backup, out of five access policies a vault."""
    documents = policy_vaults(vaults, POLICIES)
    work = {
        "vaults": documents,
        "principal": BACKUP_SERVICE,
        "app": BACKUP_APP,
        "allowed": _WHITELISTED,
        "expected": expected_policies(documents),
    }
    sides = {"keydrift": _ours("decisions.py", "policies")}
    sides |= {"c7n": _theirs(Peer.C7N, "c7n_policies.py")} if Peer.C7N in peers else {}
    sides |= {"prowler": _theirs(Peer.PROWLER, "prowler_vaults.py")} if Peer.PROWLER in peers else {}
    found = in_turn(sides, work, turns)
    ours, c7n, prowler = found["keydrift"], found.get("c7n", {}), found.get("prowler", {})
    decide = ours["decide_us"]
    lines = [Line(what="verdict with findings and proof, a vault", ours=decide, unit="µs")]
    for name, question, goal in (
        ("jmespath_us", "c7n, JMESPath: the same question, yes or no", "5 times faster"),
        ("whitelist_us", "c7n, whitelist: does anybody hold more than a list", ""),
    ):
        if name in c7n:
            lines.append(Line(what="the same", ours=decide, theirs=c7n[name], beside=question, unit="µs", goal=goal))
    if prowler:
        asked = "Prowler, one check: is RBAC on (it asks for no permission)"
        lines.append(
            Line(what="the same", ours=decide, theirs=prowler["rbac_enabled_us"], beside=asked, unit="µs", goal="20 times faster")
        )
    lines += [
        Line(what="ARM's JSON to facts, a vault", ours=ours["decode_us"], unit="µs"),
        Line(what="the verdict and its proof as a document", ours=ours["document_us"], unit="µs"),
    ]
    return Section(title=f"1. Access policies: {vaults:,} vaults, {POLICIES} policies each", lines=tuple(lines))


def roles(peers: frozenset[Peer], turns: int, sizes: Sequence[int]) -> Section:
    """Row 2: out of so many role assignments of a subscription, may the backup service read and back up the key."""
    sides = {"keydrift": _ours("decisions.py", "roles")}
    sides |= {"cedar": _theirs(Peer.CEDAR, "cedar_roles.py")} if Peer.CEDAR in peers else {}
    lines = []
    for size in sizes:
        for own in (False, True):
            work = {**role_work(size, own=own), "app": BACKUP_APP, "expected": [True]}
            found = in_turn(sides, work, turns)
            ours, cedar = found["keydrift"], found.get("cedar", {})
            whose = "its own, on other vaults" if own else "of others"
            lines.append(
                Line(
                    what=f"verdict at {size:,} assignments, {whose}",
                    ours=ours["decide_us"],
                    theirs=cedar.get("decide_us"),
                    beside="Cedar, parsed policies, two requests" if cedar else "",
                    unit="µs",
                    goal="100 times faster" if size == 4000 and not own else "flat",
                )
            )
    last = "Cedar, policies and entities parsed" if cedar else ""
    lines.append(Line(what="  indexed once a sweep", ours=ours["index_us"], theirs=cedar.get("index_us"), beside=last, unit="µs"))
    note = "20 deny assignments, of which 10 concern the vault, and 10 groups; looked up by principal and place, then weighed."
    return Section(title="2. Azure RBAC: one decision", lines=tuple(lines), notes=(note,))


def event(peers: frozenset[Peer], turns: int, events: int) -> Section:
    """Row 3: one warm event about a vault, from its JSON to the recorded verdict."""
    tenant = parse_tenant(tenants.healthy(Scenario.CVM_CMK, PermissionModel.ACCESS_POLICY), "event")
    work: dict[str, object] = {
        "event": resource_event("Microsoft.KeyVault/vaults/write", tenants.vault_id()),
        "principal": BACKUP_SERVICE,
        "subscription": tenants.SUBSCRIPTION,
        "tenant": tenants.TENANT_ID,
        "events": events,
    }
    sides = {"keydrift": _ours("event_cpu.py")}
    sides |= {"c7n": _theirs(Peer.C7N, "c7n_event.py")} if Peer.C7N in peers else {}
    reads: dict[str, float] = {}
    taken: dict[str, list[Figures]] = {name: [] for name in sides}
    with LocalAzure(tenant) as azure:
        for _ in range(turns):
            for name, side in sides.items():
                azure.clear_requests()
                taken[name].append(in_turn({name: side}, work, 1, azure.environment)[name])
                store = sum(1 for each in azure.requests if each.path.lower() == tenants.vault_id().lower())
                # The first sweep and what warms up are in the requests too: the vault is read once by each
                if store < events:
                    raise RuntimeError(f"{name} read the vault {store} times for {events} events: its figures mean nothing")
                reads[name] = _reads(azure) / store
    medians = {name: _medians(found)["cpu_ms"] for name, found in taken.items()}
    lines = [
        Line(
            what="CPU of one event, recorded",
            ours=medians["keydrift"],
            theirs=medians.get("c7n"),
            beside="c7n's handler, which decides less" if "c7n" in medians else "",
            unit="ms",
            goal="less",
        ),
        Line(
            what="reads of one event",
            ours=reads["keydrift"],
            theirs=reads.get("c7n"),
            beside="c7n's: an API version, the vault" if "c7n" in reads else "",
        ),
    ]
    return Section(title="3. One event, warm", lines=tuple(lines), notes=("Real SDKs over TLS on simulated Azure.",))


def _reads(azure: LocalAzure) -> int:
    return sum(1 for each in azure.requests if each.method == "GET" and each.host not in ("127.0.0.1", "localhost"))


def main() -> None:
    """Parse the arguments, run, print."""
    parser = argparse.ArgumentParser(description="Decisions and an event beside the peers.")
    parser.add_argument("--turns", type=int, default=TURNS, metavar="N", help=f"runs of each side, in turn ({TURNS})")
    parser.add_argument("--vaults", type=int, default=VAULTS, metavar="N", help=f"vaults ({VAULTS})")
    parser.add_argument("--events", type=int, default=EVENTS, metavar="N", help=f"events a run ({EVENTS})")
    parser.add_argument("--peers", action="store_true", help="beside the peers (make bench-peers installs them)")
    asked = parser.parse_args()
    peers = frozenset(each for each in Peer if asked.peers and each.is_installed)
    for section in (
        policies(peers, asked.turns, asked.vaults),
        roles(peers, asked.turns, ASSIGNMENTS),
        event(peers, asked.turns, asked.events),
    ):
        section.show(Console())


if __name__ == "__main__":
    main()
