"""The function app on the dev host, in a process of its own that only a signal ends (`python -m kill.host`).

The tenant is another process's, and so is the environment: it says where Azure is and where state is kept.
"""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from pathlib import Path

from keydrift import monitor, reconcile
from keydrift.adapters.sqlite_queue import SqliteQueue
from keydrift.bootstrap import SystemClock
from keydrift_local import host_queue
from keydrift_local.devhost import DevHost
from keydrift_local.host_queue import HostQueue, StorageHostQueue
from keydrift_local.laptop import APP

# What a killed process had taken comes back while somebody still waits for it; in Azure that takes up to ten minutes. This host
# does not renew a lease, so it is longer than an invocation takes on a busy machine: else five of one message run beside each
# other, and the next takes it for poison
LEASE_S = 12.0
# No reread of what an event has had read already: it would find what a forgotten event should have told
NO_REREAD = timedelta(days=1)


def queue_of(name: str) -> HostQueue:
    """The queue of that name, where `KEYDRIFT_STATE` says."""
    kind, _, rest = os.environ["KEYDRIFT_STATE"].partition(":")
    if kind == "sqlite":
        return SqliteQueue(Path(rest), name, SystemClock())
    return StorageHostQueue.from_connection_string(os.environ["AzureWebJobsStorage"], name)  # noqa: SIM112 - Azure's name


async def serve() -> None:
    """Run until killed; the port is told on standard output once everything runs."""
    host_queue.LEASE_S = LEASE_S
    for module, name in ((reconcile, "SETTLE_AFTER"), (monitor, "SETTLE_AFTER"), (reconcile, "CONFIRM_DRIFT_AFTER")):
        assert hasattr(module, name)
        setattr(module, name, NO_REREAD)
    host = DevHost(APP, port=0, queues=queue_of)
    await host.start()
    print(host.port, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
