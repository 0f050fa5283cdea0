"""Prowler's checks of a key vault, in its own environment: whether it decides by RBAC, and whether it is recoverable.

Another question than keydrift's: no check of Prowler's looks at who holds which permission. The vaults are handed over as its own
service keeps them, so that nothing is read, and the time is that of the check alone, its report of each vault included.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from cpu_time import medians

_SERVICES = "prowler.providers.azure.services"


def main() -> None:
    """Read the work, print microseconds of CPU a vault for each check."""
    work = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    # The real clients read Azure when they are imported
    _stand_in(f"{_SERVICES}.monitor.monitor_client", monitor_client=None)
    from prowler.providers.azure.services.keyvault.keyvault_service import KeyVaultInfo, VaultProperties  # noqa: PLC0415

    def kept(body: dict[str, Any]) -> object:
        shown = body["properties"]
        properties = VaultProperties(
            tenant_id=shown["tenantId"],
            enable_rbac_authorization=shown["enableRbacAuthorization"],
            private_endpoint_connections=[],
            enable_soft_delete=shown["enableSoftDelete"],
            enable_purge_protection=shown["enablePurgeProtection"],
        )
        named = {name: body[name] for name in ("id", "name", "location")}
        return KeyVaultInfo(**named, resource_group=body["resourceGroup"], properties=properties)

    vaults = [kept(each) for each in work["vaults"]]
    keyvault_client = SimpleNamespace(key_vaults={"s1": vaults}, subscriptions={"s1": "one"})
    _stand_in(f"{_SERVICES}.keyvault.keyvault_client", keyvault_client=keyvault_client)
    from prowler.providers.azure.services.keyvault.keyvault_rbac_enabled.keyvault_rbac_enabled import (  # noqa: PLC0415
        keyvault_rbac_enabled,
    )
    from prowler.providers.azure.services.keyvault.keyvault_recoverable.keyvault_recoverable import (  # noqa: PLC0415
        keyvault_recoverable,
    )

    by_rbac, recoverable = keyvault_rbac_enabled(), keyvault_recoverable()
    figures = {
        "rbac_enabled_us": medians(by_rbac.execute, len(vaults)),
        "recoverable_us": medians(recoverable.execute, len(vaults)),
        "reported": len(by_rbac.execute()),
    }
    print(json.dumps(figures))


def _stand_in(name: str, **members: object) -> None:
    module = ModuleType(name)
    vars(module).update(members)
    sys.modules[name] = module


if __name__ == "__main__":
    main()
