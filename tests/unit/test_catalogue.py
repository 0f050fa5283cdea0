"""The finding codes are the product's interface: their names, levels and severities are the catalogue's."""

from __future__ import annotations

import pytest

from keydrift.catalogue import CODES, level_of, severity_of
from keydrift.model import Finding, Scenario, State

L, R, U = State.LOST, State.AT_RISK, State.UNKNOWN

# Copied from the catalogue; `key-changed` is a notice there, which no verdict gets worse by than at risk
LEVELS = {
    "access-policy-absent": L,
    "access-policy-insufficient": L,
    "access-policy-compound-only": L,
    "permission-model-switched": L,
    "role-assignment-absent": L,
    "role-insufficient": L,
    "deny-assignment": L,
    "role-assignment-conditional": U,
    "hsm-role-assignment-absent": L,
    "hsm-role-insufficient": L,
    "advisory-permission-missing": R,
    "grant-expiring": R,
    "identity-none": L,
    "identity-detached": L,
    "identity-deleted": L,
    "principal-not-found": L,
    "principal-disabled": L,
    "key-not-found": L,
    "key-disabled": L,
    "key-expired": L,
    "key-not-yet-valid": L,
    "key-expiring": R,
    "key-changed": R,
    "key-unsuitable": L,
    "key-versions-excessive": R,
    "key-rotation-stalled": R,
    "secret-not-found": L,
    "secret-disabled": L,
    "secret-expiring": R,
    "key-store-not-found": L,
    "network-blocked": L,
    "network-perimeter": R,
    "network-unsupported-with-user-identity": R,
    "purge-protection-off": R,
    "soft-delete-off": R,
    "tenant-mismatch": L,
    "region-mismatch": R,
    "hsm-unsupported": R,
    "encryption-inconsistent": R,
    "facts-unreadable": U,
    "recheck-failed": U,
}
BY_THEMSELVES = {"grant-expiring", "key-expiring", "secret-expiring", "key-rotation-stalled", "encryption-inconsistent"}


def test_codes_and_levels() -> None:
    """Every code of the catalogue is there with its level, and no other."""
    assert {code: entry.level for code, entry in CODES.items()} == LEVELS
    assert {code for code, entry in CODES.items() if entry.by_itself} == BY_THEMSELVES
    assert all(entry.title and not entry.title.endswith(".") for entry in CODES.values())


@pytest.mark.parametrize("scenario", list(Scenario))
@pytest.mark.parametrize("code", sorted(LEVELS))
def test_level_in_a_scenario(code: str, scenario: Scenario) -> None:
    """Only the levels of an invalid key depend on the scenario."""
    endangers = code in ("key-expired", "key-not-yet-valid") and scenario in (Scenario.ADE_KEK, Scenario.CVM_CMK)
    assert level_of(code, scenario) is (R if endangers else LEVELS[code])


def test_operations_are_normalised() -> None:
    """Causes and repairs are lower case, as they are compared."""
    for entry in CODES.values():
        assert all(operation == operation.lower() for operation in (*entry.causes, *entry.repairs))


def finding(code: str) -> Finding:
    return Finding(code=code, level=LEVELS[code], summary="")


@pytest.mark.parametrize(
    ("state", "codes", "severity"),
    [
        (L, ["key-disabled"], "High"),
        (L, ["key-disabled", "key-expiring"], "High"),
        (U, ["facts-unreadable"], "Medium"),
        (U, ["facts-unreadable", "purge-protection-off"], "Medium"),
        (R, ["key-expiring"], "Medium"),
        (R, ["purge-protection-off", "encryption-inconsistent"], "Medium"),
        (R, ["key-rotation-stalled"], "Medium"),
        (R, ["secret-expiring"], "Medium"),
        (R, ["purge-protection-off"], "Low"),
        (R, ["region-mismatch", "advisory-permission-missing"], "Low"),
        (State.HELD, [], "Informational"),
    ],
)
def test_severity(state: State, codes: list[str], severity: str) -> None:
    """Severity is Sentinel's word for the verdict; at risk is Medium where time alone makes it a loss."""
    assert severity_of(state, tuple(finding(code) for code in codes)) == severity
