"""The peers, each in an environment of its own under `.peers/`, pinned by version."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from enum import Enum
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = Path(__file__).with_name("peers")


class Peer(Enum):
    """A peer: what is installed in its environment, pinned. The first name is that of its folder."""

    C7N = ("c7n==0.9.53", "c7n-azure==0.7.52")
    PROWLER = ("prowler==5.46.0",)
    CEDAR = ("cedarpy==4.12.2",)

    @property
    def requirements(self) -> tuple[str, ...]:
        """What is installed, as pip takes it."""
        return tuple(str(each) for each in self.value)

    @property
    def versions(self) -> dict[str, str]:
        """The same by name."""
        return {name: version for name, _, version in (each.partition("==") for each in self.requirements)}

    @property
    def folder(self) -> Path:
        """Where its environment is."""
        return ROOT / ".peers" / next(iter(self.versions))

    @property
    def is_installed(self) -> bool:
        """Whether all of it is there, in these versions."""
        mark = self.folder / "installed.txt"
        return mark.exists() and mark.read_text(encoding="utf-8") == "\n".join(self.requirements)

    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"


def install(peer: Peer, say: Callable[[str], None]) -> bool:
    """Make a peer's environment unless it is there. Says in a line why where that is not possible; then its rows are left out."""
    if peer.is_installed:
        return True
    say(f"installing {' '.join(peer.requirements)}")
    pip = [str(peer.python()), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *peer.requirements]
    for command in ([sys.executable, "-m", "venv", "--clear", str(peer.folder)], pip):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no reason given"]
            say(f"{peer.folder.name} cannot be installed here, so its rows are left out: {last[0]}")
            return False
    (peer.folder / "installed.txt").write_text("\n".join(peer.requirements), encoding="utf-8")
    return True
