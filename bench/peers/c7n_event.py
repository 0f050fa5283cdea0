"""Cloud Custodian's Azure Functions handler, warm, in its own environment: CPU of one event about a vault.

Its own code from the handler on: policy loaded, session made, the vault read through the real SDK over TLS, filters applied,
files written. Azure is the simulated one; the managed identity is the environment's.
"""

from __future__ import annotations

import json
import logging
import statistics
import sys
import tempfile
import time
from pathlib import Path

from c7n_azure import handler
from c7n_azure.entry import initialize_azure

HOLDS = "properties.accessPolicies[?objectId=='{who}'].permissions.keys[] | contains(@, 'backup')"


def main() -> None:
    """Read the work, handle its event so many times, print milliseconds of CPU an event: the median."""
    work = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    initialize_azure()
    logging.basicConfig(level=logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        config, auth = Path(folder, "config.json"), Path(folder, "auth.json")
        value = {"type": "value", "key": HOLDS.format(who=work["principal"]), "value": True}
        mode = {"type": "azure-event-grid", "events": ["KeyVaultWrite"], "execution-options": {"output_dir": folder}}
        policy = {"name": "holds", "resource": "azure.keyvault", "mode": mode, "filters": [{"not": [value]}]}
        config.write_text(json.dumps({"policies": [policy]}), encoding="utf-8")
        auth.write_text(
            json.dumps({"use_msi": True, "tenant_id": work["tenant"], "subscription_id": work["subscription"]}), encoding="utf-8"
        )
        context = {"config_file": str(config), "auth_file": str(auth)}
        taken = []
        for _ in range(work["events"] + 3):
            began = time.process_time()
            handler.run(work["event"], context, work["subscription"])
            taken.append(time.process_time() - began)
    print(json.dumps({"cpu_ms": statistics.median(taken[3:]) * 1000}))


if __name__ == "__main__":
    main()
