"""Ask PyPI's advisories about every pinned package with pip-audit, and fail where they could not be asked.

pip-audit by itself ends with 0 where the service does not know a package, as behind a mirror that serves files alone: that looks
like a clean audit of which nothing was audited. Here it ends with 2, and so does a run without a network.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[1]
FILES = ("requirements.txt", "requirements-dev.txt", ".ci/checkov.txt", ".ci/fuzz.txt")
_SHOWN = 5


def judged(name: str, report: Mapping[str, Any] | None) -> tuple[int, list[str]]:
    """The exit status and the lines of one file's report (None: pip-audit gave none): 0 clean, 1 vulnerable, 2 not told."""
    if report is None:
        return 2, [f"{name}: not audited: the advisories cannot be reached; run this where https://pypi.org/pypi/ answers"]
    packages = report.get("dependencies") or []
    if not packages:
        return 2, [f"{name}: not audited: no package was read from it"]
    lines = [
        f"{name}: {each['name']} {each['version']}: {found['id']}, mended in {', '.join(found['fix_versions']) or 'none yet'}"
        for each in packages
        for found in each.get("vulns", ())
    ]
    skipped = [each["name"] for each in packages if "skip_reason" in each]
    if lines:
        return 1, lines
    if skipped:
        names = ", ".join(skipped[:_SHOWN]) + (f" and {len(skipped) - _SHOWN} more" if len(skipped) > _SHOWN else "")
        return 2, [f"{name}: {len(skipped)} of {len(packages)} packages not audited: no advisories are served for {names}"]
    return 0, [f"{name}: {len(packages)} packages, no known vulnerability"]


def _report(name: str) -> Mapping[str, Any] | None:
    options = ["--require-hashes", "--disable-pip", "--progress-spinner", "off", "--format", "json", "--timeout", "10"]
    ran = subprocess.run(  # noqa: S603  # the pip-audit beside this Python, on this repository's files
        [Path(sys.executable).with_name("pip-audit"), "--requirement", _ROOT / name, *options],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        found = json.loads(ran.stdout)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def main() -> int:
    """Audit every file, and say what is known. Returns the exit status."""
    statuses = []
    for name in FILES:
        status, lines = judged(name, _report(name))
        statuses.append(status)
        print(*lines, sep="\n", file=sys.stderr if status else sys.stdout)
    return 1 if 1 in statuses else max(statuses)


if __name__ == "__main__":
    sys.exit(main())
