"""What a verdict costs, apart from all waiting: facts read once from the simulated tenant, judged over and over."""

from __future__ import annotations

import asyncio
import os
import statistics
import timeit
from collections.abc import Sequence
from functools import partial

from keydrift.access.key_state import Horizon
from keydrift.access.verdict import decide
from keydrift.bootstrap import SystemClock
from keydrift.collect import Known
from keydrift.discovery import visible
from keydrift.facts import Facts
from keydrift.inventory import discover
from keydrift.model import KeyBinding, PermissionModel, Scenario, State
from keydrift.reading import reading as compose_reading
from keydrift.settings import Settings
from keydrift_local.demo import STORY
from keydrift_local.laptop import serving
from keydrift_local.tenant import Tenant
from keydrift_local.tenant_file import load_tenant

ASSIGNMENTS = 10
_REPEATS = 15
_VERDICTS = 200
_SUBSCRIPTION = "/subscriptions/10000000-0000-4000-8000-000000000001"
# Key Vault Reader: none of its data actions touches a key's material, so every one of these is weighed and does not grant
_READER = "21090545-7ca7-4776-b22c-e363652d74d2"
_BACKUP_SERVICE = "30000000-0000-4000-8000-000000000262"


def measure() -> dict[str, float]:
    """Microseconds a verdict, by permission model: the median of 15 rounds of 200 verdicts."""
    tenant = load_tenant(STORY / "tenant.json")
    for number in range(ASSIGNMENTS - 1):
        tenant.apply({"put": _assignment(number)})
    cases = asyncio.run(_read(tenant))
    return {f"{model}_us": _microseconds(*case) for model, case in cases.items()}


def _assignment(number: int) -> dict[str, object]:
    scope = _SUBSCRIPTION if number % 2 else f"{_SUBSCRIPTION}/resourceGroups/rg-keys"
    return {
        "id": f"{scope}/providers/Microsoft.Authorization/roleAssignments/90000000-0000-4000-8000-0000000000{number:02}",
        "properties": {
            "scope": scope,
            "roleDefinitionId": f"{_SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/{_READER}",
            "principalId": _BACKUP_SERVICE,
            "principalType": "ServicePrincipal",
        },
    }


async def _read(tenant: Tenant) -> dict[PermissionModel, tuple[KeyBinding, Facts, Horizon]]:
    """A held key binding of each permission model, with its facts as the adapters read them."""
    clock = SystemClock()
    with serving(tenant, clock=clock):
        reading = compose_reading(Settings.from_environment(os.environ), clock)
        try:
            subscriptions, _ = await visible(reading.consumers, ())
            found = discover(await reading.consumers.read(subscriptions), reading.policy.backup_app_id)
            wanted = {
                PermissionModel.ACCESS_POLICY: _one(found, Scenario.BACKUP_VAULT_CMK, "kv-vaults"),
                PermissionModel.RBAC: _one(found, Scenario.CVM_CMK, "kv-cvm"),
            }
            known = Known(object_ids={reading.policy.backup_app_id: _BACKUP_SERVICE}, tenant_id=reading.policy.tenant_id)
            facts = {model: await reading.collector.collect([binding], known) for model, binding in wanted.items()}
        finally:
            await reading.close()
    horizon = Horizon(now=clock.now(), key_expiry=reading.policy.key_expiry)
    return {model: (wanted[model], facts[model], horizon) for model in wanted}


def _one(bindings: Sequence[KeyBinding], scenario: Scenario, store: str) -> KeyBinding:
    return next(each for each in bindings if each.scenario is scenario and each.target.uri.store_name == store)


def _microseconds(binding: KeyBinding, facts: Facts, horizon: Horizon) -> float:
    verdict = decide(binding, facts, horizon)
    weighed = sum(1 for step in verdict.proof if step.kind == "role-assignment")
    if verdict.state is not State.HELD or (verdict.permission_model is PermissionModel.RBAC and weighed != ASSIGNMENTS):
        raise RuntimeError(f"expected `held` and {ASSIGNMENTS} assignments weighed, got `{verdict.state}` and {weighed}")
    rounds = timeit.repeat(partial(decide, binding, facts, horizon), repeat=_REPEATS, number=_VERDICTS)
    return round(statistics.median(rounds) / _VERDICTS * 1e6, 1)
