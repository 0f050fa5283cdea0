"""The tenant file: what is refused, and with which words."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from keydrift.errors import ConfigError
from keydrift_local.tenant_file import load_tenant, parse_tenant

SUB = "/subscriptions/00000000-0000-0000-0000-000000000001"
KV1 = f"{SUB}/resourceGroups/rg1/providers/Microsoft.KeyVault/vaults/kv1"
HSM = f"{SUB}/resourceGroups/rg1/providers/Microsoft.KeyVault/managedHSMs/hsm1"
ROLE = f"{KV1}/providers/Microsoft.Authorization/roleAssignments/r1"


@pytest.mark.parametrize(
    ("members", "message"),
    [
        pytest.param({"tenantId": None}, "$.tenantId: expected a non-empty string", id="no tenant"),
        pytest.param({"cloud": "Azure"}, "$.cloud: expected one of AzureCloud", id="unknown cloud"),
        pytest.param({"now": "2026-01-01T00:00:00"}, "$.now: expected an RFC 3339 time", id="time without offset"),
        pytest.param({"now": 5}, "$.now: expected an RFC 3339 time", id="time as a number"),
        pytest.param({"resources": {}}, "$.resources: expected an array", id="list as an object"),
        pytest.param({"resources": [5]}, "$.resources[0]: expected an object", id="entry as a number"),
        pytest.param({"resources": [{}]}, "$.resources[0].id: expected a non-empty string", id="no id"),
        pytest.param({"resources": [{"id": "kv1"}]}, "$.resources[0].id: expected an ARM resource id", id="id without slash"),
        pytest.param({"resources": [{"id": f"{KV1}/keys"}]}, "$.resources[0].id: expected the id of a resource", id="half an id"),
        pytest.param(
            {"resources": [{"id": ROLE}]}, "$.resources[0].id: expected an object of this kind under `roleAssignments`", id="role"
        ),
        pytest.param(
            {"resources": [{"id": KV1, "properties": []}]}, "$.resources[0].properties: expected an object", id="properties"
        ),
        pytest.param(
            {"resources": [{"id": KV1}, {"id": KV1.replace("kv1", "KV1")}]},
            "$.resources[1].id: expected an id of its own",
            id="duplicate in another letter case",
        ),
        pytest.param(
            {"roleAssignments": [{"id": ROLE, "properties": {"roleDefinitionId": "x"}}]},
            "$.roleAssignments[0].properties.principalId: expected a string",
            id="assignment of nobody",
        ),
        pytest.param({"denyAssignments": [{"id": ROLE}]}, "$.denyAssignments[0].id: expected the id of one of", id="wrong list"),
        pytest.param(
            {"directory": {"groups": [{"id": "g", "members": [1]}]}}, "$.directory.groups[0].members[0]: expected", id="member"
        ),
        pytest.param({"directory": []}, "$.directory: expected an object", id="directory as a list"),
        pytest.param(
            {"managedHsms": {KV1: {}}}, f"$.managedHsms['{KV1}']: expected the ARM id of a Managed HSM", id="not an HSM"
        ),
        pytest.param({"managedHsms": {HSM: {"keys": [{}]}}}, f"$.managedHsms['{HSM}'].keys[0].name: expected", id="nameless key"),
    ],
)
def test_a_wrong_file_is_named_in_one_line(members: dict[str, object], message: str) -> None:
    """Every mistake is one line with the file, the JSON path and what was expected there."""
    with pytest.raises(ConfigError) as caught:
        parse_tenant({"tenantId": "t", **members}, "tenant.json")
    assert str(caught.value).startswith(f"tenant.json: {message}")
    assert "\n" not in str(caught.value)


def test_malformed_json_tells_line_and_column(tmp_path: Path) -> None:
    """A file that is no JSON is refused with its line and column."""
    path = tmp_path / "tenant.json"
    path.write_text('{\n  "tenantId": ,\n}', encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_tenant(path)
    assert str(caught.value).startswith(f"{path}:2:15: expected JSON")


def test_a_missing_file_is_a_config_error(tmp_path: Path) -> None:
    """A file that cannot be read is the user's to mend."""
    with pytest.raises(ConfigError, match="cannot be read"):
        load_tenant(tmp_path / "absent.json")


def test_near_namesakes_are_different_objects(tmp_path: Path) -> None:
    """`rg1` and `rg10` are two places, and every subscription that occurs anywhere is known."""
    path = tmp_path / "tenant.json"
    document = {
        "tenantId": "t",
        "now": "2026-01-01T02:00:00+02:00",
        "resources": [{"id": KV1}, {"id": KV1.replace("rg1", "rg10")}],
        "managementGroups": [
            {"id": "/providers/Microsoft.Management/managementGroups/mg1", "parent": None, "subscriptions": ["SUB-2"]}
        ],
        "roleAssignments": [
            {
                "id": "/subscriptions/sub-3/providers/Microsoft.Authorization/roleAssignments/r1",
                "properties": {"principalId": "p", "roleDefinitionId": "r", "scope": "/subscriptions/SUB-3"},
            }
        ],
    }
    path.write_text(json.dumps(document), encoding="utf-8")
    tenant = load_tenant(path)
    assert tenant.now == datetime(2026, 1, 1, tzinfo=UTC)
    assert [each.lower() for each in tenant.subscriptions] == [SUB.split("/")[2], "sub-2", "sub-3"]
