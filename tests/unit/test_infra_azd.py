"""What azd does with infra/: parameters, settings, the role, and the hook that subscribes the function."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from keydrift.doctor.facts import ENCRYPTION_SETTINGS, PROTECTED_ITEMS, SUBSCRIPTION_READS
from keydrift.doctor.settings import Surroundings, check_settings
from keydrift.settings import Settings
from support.bicep import INFRA, literal, members, read, text_of

ROOT = INFRA.parent
MAIN = read(INFRA / "main.bicep")
AZD = yaml.safe_load((ROOT / "azure.yaml").read_text(encoding="utf-8"))
ROLE = json.loads((INFRA / "monitor-role.json").read_text(encoding="utf-8"))
# Read by the Functions host alone, which binds triggers by them
BOUND_BY_THE_HOST = {"KEYDRIFT_EVENTS_QUEUE", "KEYDRIFT_DEAD_LETTER_CONTAINER"}


def app_settings() -> dict[str, str]:
    """The product's settings of the function app, with the source text of each value."""
    made = {
        **members(MAIN.variables["settings"]),
        **members(read(INFRA / "modules/function-app.bicep").variables["hostSettings"]),
    }
    return {name: literal(value) or text_of(value) for name, value in made.items()}


def azd_inputs() -> dict[str, str]:
    """The environment variables that main.parameters.json takes, by parameter."""
    given = json.loads((INFRA / "main.parameters.json").read_text(encoding="utf-8"))["parameters"]
    return {name: re.fullmatch(r"\$\{(\w+)(?:=[\w.]+)?\}", each["value"]).group(1) for name, each in given.items()}  # type: ignore[union-attr]  # what does not match fails here


def test_parameters_fit_the_template() -> None:
    """azd passes each parameter that the template requires, none that it lacks, and only texts: variables come as such."""
    given = azd_inputs()
    assert {name for name, each in MAIN.parameters.items() if each.required} <= given.keys()
    assert given.keys() <= MAIN.parameters.keys()
    assert {MAIN.parameters[name].kind for name in given} == {"string"}


def test_outputs_do_not_come_back_as_inputs() -> None:
    """azd keeps outputs as variables: none of them is an input too, but for the one that only repeats what came in."""
    back = {name: variable for name, variable in azd_inputs().items() if variable in MAIN.outputs}
    assert back == {"eventDelivery": "KEYDRIFT_EVENT_DELIVERY"}
    assert text_of(MAIN.outputs["KEYDRIFT_EVENT_DELIVERY"]) == "eventDelivery"


def test_azd_finds_its_parts() -> None:
    """The service's tag is on the function app, and the template and the hook stand where azure.yaml says."""
    (service,) = AZD["services"]
    app = read(INFRA / "modules/function-app.bicep").resource("app")
    assert f"'azd-service-name': '{service}'" in text_of(app.body)
    assert (ROOT / AZD["infra"]["path"] / f"{AZD['infra']['module']}.bicep").is_file()
    hook = ROOT / AZD["hooks"]["postdeploy"]["posix"]["run"]
    assert os.access(hook, os.X_OK)


def test_settings_are_known() -> None:
    """Every product setting that the template makes has a documented name."""
    product = {name for name in app_settings() if name.startswith("KEYDRIFT_")}
    assert product - Settings.names() <= BOUND_BY_THE_HOST


def test_the_doctor_is_content_with_the_settings() -> None:
    """With the template's settings on a function app the doctor finds nothing wrong, and nothing missing that the host binds."""
    made = app_settings()
    tenant = "00000000-0000-0000-0000-000000000001"
    settings = Settings(state=made["KEYDRIFT_STATE"], tenant_id=tenant)
    found = check_settings(settings, Surroundings(environment={**made, "WEBSITE_INSTANCE_ID": "1"}), tenant)
    bound = {f"setting {name}" for name in BOUND_BY_THE_HOST}
    assert [(check.name, check.found) for check in found if check.status != "ok" and check.name not in bound] == []


def test_queues_and_containers_have_one_name() -> None:
    """What the template makes in storage is what the app is told, by the names that the triggers default to."""
    made = {name: literal(value) for name, value in MAIN.variables.items()}
    assert (made["eventsQueue"], made["deadLetterContainer"]) == ("keydrift-events", "keydrift-dead-letters")
    assert made["recheckQueue"] == Settings().recheck_queue
    assert made["tableName"] == Settings().table
    passed = members(MAIN.module("storage").member("params"))
    for parameter in ("eventsQueue", "deadLetterContainer", "recheckQueue", "tableName"):
        assert text_of(passed[parameter]) == parameter


def test_the_role_holds_reads_only() -> None:
    """The monitor's role names each read, without a wildcard, and no data action: Azure refuses those on management groups."""
    assert [each for each in ROLE["actions"] if not re.fullmatch(r"Microsoft\.\w+(?:/\w+)+/read", each)] == []
    assert ROLE["actions"] == sorted(set(ROLE["actions"]), key=str.lower)
    assert (ROLE["notActions"], ROLE["dataActions"], ROLE["notDataActions"]) == ([], [], [])


def test_the_role_holds_what_the_doctor_asks_for() -> None:
    """Each permission that the doctor would tell to grant is in the role."""
    asked = {each.permission.lower() for each in (*SUBSCRIPTION_READS, PROTECTED_ITEMS, ENCRYPTION_SETTINGS)}
    assert asked - {each.lower() for each in ROLE["actions"]} == set()


@pytest.mark.parametrize("path", ["modules/monitor-role.bicep", "management-group.bicep"])
def test_the_role_is_made_of_the_file(path: str) -> None:
    """On a subscription as on a management group the role's actions are the file's."""
    template = read(INFRA / path)
    assert text_of(template.variables["role"]).endswith("monitor-role.json')")
    permissions = template.resource("definition").member("properties", "permissions")
    assert permissions is not None
    (entry,) = permissions.named_children
    assert {name: text_of(value) for name, value in members(entry).items()} == {
        kind: f"role.{kind}" for kind in ("actions", "notActions", "dataActions", "notDataActions")
    }


def test_the_managed_hsm_role_reads_and_no_more() -> None:
    """The local role for Managed HSMs reads keys and roles; unlike Crypto Auditor it holds nothing that deletes."""
    role = json.loads((INFRA / "managed-hsm-role.json").read_text(encoding="utf-8"))
    assert sorted(role["dataActions"]) == [
        f"Microsoft.KeyVault/managedHsm/{what}/read/action" for what in ("keys", "roleAssignments", "roleDefinitions")
    ]


def run_hook(folder: Path, environment: dict[str, str]) -> tuple[int, str, list[str]]:
    """Run the hook with a command `az` that writes down its arguments: exit status, stderr, arguments."""
    az = folder / "az"
    az.write_text('#!/bin/sh\nfor each in "$@"; do echo "$each"; done > "$(dirname "$0")/called"\n', encoding="utf-8")
    az.chmod(0o755)
    shell = shutil.which("sh")
    assert shell is not None
    hook = ROOT / "infra/hooks/postdeploy.sh"
    ran = subprocess.run(
        [shell, hook], env={"PATH": f"{folder}:/usr/bin:/bin", **environment}, capture_output=True, text=True, check=False
    )
    called = folder / "called"
    return ran.returncode, ran.stderr, called.read_text(encoding="utf-8").splitlines() if called.exists() else []


OUTPUTS = {
    "AZURE_LOCATION": "westeurope",
    "AZURE_SUBSCRIPTION_ID": "s",
    "KEYDRIFT_EVENT_DELIVERY": "function",
    "KEYDRIFT_SUBSCRIPTION_TOPICS": "/subscriptions/s/resourceGroups/g/providers/Microsoft.EventGrid/systemTopics/t",
    "KEYDRIFT_FUNCTION_ID": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Web/sites/f/functions/receive",
    "KEYDRIFT_STORAGE_ID": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/a",
    "KEYDRIFT_EVENTS_QUEUE": "keydrift-events",
    "KEYDRIFT_DEAD_LETTER_CONTAINER": "keydrift-dead-letters",
}


def test_the_hook_subscribes_the_function(tmp_path: Path) -> None:
    """It deploys the template for it, with every parameter that this has, each from azd's environment."""
    status, complaint, called = run_hook(tmp_path, OUTPUTS)
    assert (status, complaint) == (0, "")
    template = read(INFRA.parent / called[called.index("--template-file") + 1])
    given = dict(each.split("=", 1) for each in called[called.index("--parameters") + 1 : called.index("--output")])
    assert given.keys() == template.parameters.keys()
    assert given["functionId"] == OUTPUTS["KEYDRIFT_FUNCTION_ID"]
    assert set(OUTPUTS) - {"AZURE_LOCATION", "AZURE_SUBSCRIPTION_ID"} <= MAIN.outputs.keys()


def test_the_hook_leaves_the_queue_alone(tmp_path: Path) -> None:
    """Where events go to the queue, and where nothing is said, it does nothing."""
    assert run_hook(tmp_path, OUTPUTS | {"KEYDRIFT_EVENT_DELIVERY": "queue"}) == (0, "", [])
    assert run_hook(tmp_path, {}) == (0, "", [])


def test_the_hook_says_what_is_not_set(tmp_path: Path) -> None:
    """Without an output it calls nothing and names it."""
    status, complaint, called = run_hook(tmp_path, {n: v for n, v in OUTPUTS.items() if n != "KEYDRIFT_FUNCTION_ID"})
    assert (status, called) == (2, [])
    assert complaint == "KEYDRIFT_FUNCTION_ID is not set: run azd provision first\n"
