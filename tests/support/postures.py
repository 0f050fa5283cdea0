"""Posture documents for the page: of real verdicts on built facts, as many as are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from keydrift.document import verdict_document
from keydrift.model import Effect, Finding, ProofStep, Scenario, State, Verdict
from keydrift.posture import posture_document
from support.builders import NOW, binding, key_at

SUBSCRIPTIONS = ("00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002")
REPAIR = "az keyvault set-policy --name kv1 --object-id aaaaaaaa --key-permissions get list backup"


def lost_finding(**changes: Any) -> Finding:
    """A finding that says the key is lost, with a command."""
    found = Finding(
        code="access-policy-absent",
        level=State.LOST,
        summary="no access policy of vault kv1 names the principal",
        evidence={"vault": "kv1", "policies": 2},
        remediation=REPAIR,
    )
    return replace(found, **changes)


_FINDINGS: dict[State, tuple[Finding, ...]] = {
    State.LOST: (lost_finding(),),
    State.UNKNOWN: (
        Finding(
            code="facts-unreadable",
            level=State.UNKNOWN,
            summary="could not read the vault: HTTP 403 AuthorizationFailed",
            remediation="give the monitor's identity: Reader at the scope",
        ),
    ),
    State.AT_RISK: (Finding(code="key-expiring", level=State.AT_RISK, summary="the key expires soon", remediation=REPAIR),),
    State.HELD: (),
}


def verdict(state: State, number: int = 0, scenario: Scenario = Scenario.CVM_CMK, **changes: Any) -> Verdict:
    """A verdict on the key `key-{number}` of the vault `kv{number}`; its subscriptions take turns."""
    store = f"/subscriptions/{SUBSCRIPTIONS[number % 2]}/resourceGroups/rg1/providers/Microsoft.KeyVault/vaults/kv{number}"
    target = key_at(f"kv{number}.vault.azure.net", f"key-{number}", store)
    step = ProofStep(
        kind="role-assignment",
        id=f"{store}/providers/Microsoft.Authorization/roleAssignments/{uuid5(NAMESPACE_URL, str(number))}",
        effect=Effect.GRANTS,
        reason="the role gives all that is needed",
        scope=store,
        role="Key Vault Crypto User",
        permissions=("Microsoft.KeyVault/vaults/keys/read",),
    )
    made = Verdict(
        binding=binding(scenario, target=target),
        state=state,
        read_at=NOW - timedelta(minutes=number % 50),
        findings=_FINDINGS[state],
        proof=() if state is State.UNKNOWN else (step,),
    )
    return replace(made, **changes)


def posture(
    verdicts: Sequence[Verdict], *, unread: Sequence[object] = (), source: Any = "monitor", **more: object
) -> dict[str, Any]:
    """The document of these verdicts; `more` are further members of every key binding."""
    return posture_document([{**verdict_document(v), **more} for v in verdicts], unread, NOW, source=source)


def mixed() -> list[Verdict]:
    """Two lost, one unknown, two at risk and seven held, over two subscriptions and two scenarios."""
    states = [State.LOST] * 2 + [State.UNKNOWN] + [State.AT_RISK] * 2 + [State.HELD] * 7
    scenarios = (Scenario.CVM_CMK, Scenario.BACKUP_VAULT_CMK)
    return [verdict(state, n, scenarios[n % 3 == 0]) for n, state in enumerate(states)]
