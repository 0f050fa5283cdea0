"""The Bicep as a whole: it parses, modules are given what they ask for, nothing is declared in vain, nothing holds a secret."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from support.bicep import (
    INFRA,
    Template,
    literal,
    members,
    outputs_asked_for,
    parse,
    read,
    syntax_errors,
    templates,
    text_of,
    used_names,
)

MAIN = INFRA / "main.bicep"


def names(path: Path) -> str:
    return path.relative_to(INFRA).as_posix()


@pytest.mark.parametrize("path", templates(), ids=names)
def test_it_parses(path: Path) -> None:
    """No place in a file is beyond the grammar."""
    assert syntax_errors(read(path)) == []


@pytest.mark.parametrize("path", templates(), ids=names)
def test_modules_are_given_what_they_ask_for(path: Path) -> None:
    """A module's file exists, it is passed every parameter that it requires and no other, and outputs asked for are there."""
    assert wrong_modules(read(path)) == []


@pytest.mark.parametrize("path", templates(), ids=names)
def test_nothing_is_declared_in_vain(path: Path) -> None:
    """Every parameter and variable is used in its file."""
    template = read(path)
    assert {*template.parameters, *template.variables} - used_names(template) == set()


@pytest.mark.parametrize("path", templates(), ids=names)
def test_what_is_loaded_exists(path: Path) -> None:
    """Every file that a template loads is there and is JSON."""
    for name in re.findall(r"load(?:Json|Text)Content\('([^']+)'", read(path).text):
        loaded = (path.parent / name).read_text(encoding="utf-8")
        assert not name.endswith(".json") or json.loads(loaded)


@pytest.mark.parametrize("path", templates(), ids=names)
def test_no_secret_is_asked_for(path: Path) -> None:
    """No template reads a key or a shared access signature, or takes a secret: everything signs in by identity."""
    text = read(path).text
    assert re.findall(r"(?i)\blist(?:Account|Service)?(?:Keys|Sas|Secrets)\b|\bgetSecret\b|@secure\(", text) == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("      tags: tags\n", ""), "`identity` is not given tags"),
        (("      tags: tags\n", "      tags: tags\n      colour: 'red'\n"), "`identity` has no parameter colour"),
        (("modules/identity.bicep", "modules/identities.bicep"), "`identity`: no file modules/identities.bicep"),
        (("identity.outputs.clientId", "identity.outputs.client"), "`identity` has no output client"),
    ],
)
def test_a_wrong_module_is_seen(change: tuple[str, str], complaint: str) -> None:
    """Each kind of mistake in passing things on is found, in a copy of the template that has it."""
    start = (
        "module identity 'modules/identity.bicep' = {\n  params: {\n      location: location\n      name: 'n'\n      tags: tags\n"
    )
    text = f"{start}  }}\n}}\noutput x string = identity.outputs.clientId\n".replace(*change)
    assert wrong_modules(parse(MAIN, text.encode())) == [complaint]


@pytest.mark.parametrize(
    ("module", "symbol", "nested"),
    [("network", "resolution", "private-dns"), ("sentinel-nrt", "rules", "sentinel-nrt")],
)
def test_the_nested_template_is_given_what_it_asks_for(module: str, symbol: str, nested: str) -> None:
    """An ARM template within a module gets each of its parameters and no other, and reads its own."""
    template = read(INFRA / f"modules/{module}.bicep")
    properties = members(template.resource(symbol).member("properties"))
    assert text_of(properties["template"]) == f"loadJsonContent('../{nested}.json')"
    assert literal(members(properties["expressionEvaluationOptions"])["scope"]) == "Inner"
    loaded = json.loads((INFRA / f"{nested}.json").read_text(encoding="utf-8"))
    given = members(properties["parameters"])
    assert given.keys() == loaded["parameters"].keys()
    assert set(re.findall(r"parameters\('(\w+)'\)", json.dumps(loaded["resources"]))) == given.keys()


def test_storage_is_signed_in_to_by_identity_alone() -> None:
    """No account key works, nothing is public, and the host's connection names an identity and no secret."""
    properties = members(read(INFRA / "modules/storage.bicep").resource("account").member("properties"))
    assert text_of(properties["allowSharedKeyAccess"]) == "false"
    assert text_of(properties["allowBlobPublicAccess"]) == "false"
    host = members(read(INFRA / "modules/function-app.bicep").variables["hostSettings"])
    assert {name.partition("__")[2] for name in host if name.startswith("AzureWebJobs")} == {
        "accountName",
        "credential",
        "clientId",
    }
    assert literal(host["AzureWebJobsStorage__credential"]) == "managedidentity"


def test_application_insights_takes_no_key() -> None:
    """Local authentication is off, and the function app's setting says to bring a token."""
    component = read(INFRA / "modules/application-insights.bicep").resource("component")
    assert text_of(members(component.member("properties"))["DisableLocalAuth"]) == "true"
    host = members(read(INFRA / "modules/function-app.bicep").variables["hostSettings"])
    assert "Authorization=AAD" in text_of(host["APPLICATIONINSIGHTS_AUTHENTICATION_STRING"])


def test_it_runs_on_flex_consumption_with_the_python_of_the_project() -> None:
    """The plan is FC1 and the runtime the version that .python-version names."""
    app = read(INFRA / "modules/function-app.bicep")
    assert literal(app.resource("plan").member("sku", "name")) == "FC1"
    runtime = members(app.resource("app").member("properties", "functionAppConfig", "runtime"))
    version = (INFRA.parent / ".python-version").read_text(encoding="utf-8").strip()
    assert (literal(runtime["name"]), literal(runtime["version"])) == ("python", version)


def wrong_modules(template: Template) -> list[str]:
    """What is wrong with a template's modules, a line each."""
    wrong: list[str] = []
    asked = outputs_asked_for(template)
    for module in template.modules:
        file = template.path.parent / module.reference
        if not file.is_file():
            wrong.append(f"`{module.symbol}`: no file {module.reference}")
            continue
        inner = read(file)
        given = members(module.member("params"))
        required = {name for name, each in inner.parameters.items() if each.required}
        wrong += [f"`{module.symbol}` is not given {name}" for name in sorted(required - given.keys())]
        wrong += [f"`{module.symbol}` has no parameter {name}" for name in sorted(given.keys() - inner.parameters.keys())]
        wrong += [
            f"`{module.symbol}` has no output {output}"
            for symbol, output in sorted(asked)
            if symbol == module.symbol and output not in inner.outputs
        ]
    return wrong
