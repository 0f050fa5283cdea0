"""Check infra/ with checkov. What it passes over without a word fails here: a file that its parser cannot read, or no file.

Skipped checks stand beside the resource that they are about, each with its reason.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_INFRA = _ROOT / "infra"


def main() -> int:
    """Run it, and say what is wrong. Returns the exit status."""
    checkov = Path(sys.executable).with_name("checkov")
    ran = subprocess.run(  # noqa: S603  # the checkov beside this Python, on this repository's folder
        [checkov, "--directory", _INFRA, "--framework", "bicep", "--output", "json", "--skip-download"],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        report = json.loads(ran.stdout)
        summary = report["summary"]
    except (ValueError, KeyError, TypeError):
        print(f"checkov gave no report:\n{ran.stdout}{ran.stderr}", file=sys.stderr)
        return 2
    wrong = [f"{each}: checkov's parser cannot read it" for each in report["results"]["parsing_errors"]]
    wrong += [
        f"infra{each['file_path']}:{each['file_line_range'][0]}: {each['check_id']}: {each['check_name']}"
        for each in report["results"]["failed_checks"]
    ]
    if not summary["passed"]:
        wrong.append("checkov looked at nothing")
    print("\n".join((*wrong, f"checkov: {summary['passed']} passed, {summary['failed']} failed, {summary['skipped']} skipped")))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
