"""Azure's built-in roles as data: the Key Vault and backup ones of Azure RBAC, and a Managed HSM's local ones.

Action lists as published in Microsoft's `built-in-roles/security` and `managed-hsm/built-in-roles` pages. Nothing else here.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

from keydrift_local.documents import JsonObject


@cache
def azure_roles() -> dict[str, JsonObject]:
    """Azure RBAC roles by lower-case guid: `{id, roleName, description, permissions}`."""
    return _read("azure_rbac.json")


@cache
def managed_hsm_roles() -> dict[str, JsonObject]:
    """Managed HSM local roles by lower-case guid, same shape."""
    return _read("managed_hsm.json")


def _read(name: str) -> dict[str, JsonObject]:
    roles: list[JsonObject] = json.loads(files(__package__).joinpath(name).read_text(encoding="utf-8"))
    return {str(role["id"]).lower(): role for role in roles}
