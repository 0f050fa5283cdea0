"""The KQL texts that are shipped, and Microsoft's own language service over them (`node/kqlcheck.mjs`, run by Node)."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keydrift.tables import ALERTS, HEALTH, HEALTH_COLUMNS, POSTURE, POSTURE_COLUMNS, WORKSPACE_COLUMNS
from support.azurite import install_node_modules

ROOT = Path(__file__).resolve().parents[2]
KQL = ROOT / "infra" / "kql"
_SCRIPT = Path(__file__).resolve().parent / "node" / "kqlcheck.mjs"
_PARAMETERS = re.compile(r"^// Parameters: (.*)$", re.MULTILINE)
_INLINE = re.compile(r"^ *query: '(.*)'$", re.MULTILINE)
_BLOCK = re.compile(r"^```kusto\n(.*?)^```", re.MULTILINE | re.DOTALL)

# What a workspace's tables hold: the product's, and those of Azure's that hunting queries read (columns of
# https://learn.microsoft.com/azure/azure-monitor/reference/tables/azureactivity and …/azurediagnostics that they name)
TABLES: dict[str, Mapping[str, str]] = {
    ALERTS: WORKSPACE_COLUMNS,
    POSTURE: POSTURE_COLUMNS,
    HEALTH: HEALTH_COLUMNS,
    "AzureActivity": {
        "TimeGenerated": "datetime",
        **dict.fromkeys(("OperationNameValue", "ActivityStatusValue", "ActivitySubstatusValue", "Caller"), "string"),
        **dict.fromkeys(("CallerIpAddress", "CorrelationId", "SubscriptionId", "ResourceGroup", "_ResourceId"), "string"),
    },
    "AzureDiagnostics": {
        "TimeGenerated": "datetime",
        **dict.fromkeys(("ResourceProvider", "ResourceType", "ResourceId", "OperationName", "ResultType"), "string"),
        **dict.fromkeys(("CallerIPAddress", "CorrelationId", "SubscriptionId", "identity_claim_appid_g"), "string"),
        "identity_claim_http_schemas_xmlsoap_org_ws_2005_05_identity_claims_upn_s": "string",
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedFunction:
    """A function that a workspace saves: its alias, its parameters as Log Analytics spells them, its text."""

    name: str
    parameters: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What the language service says of one text: errors and warnings with their places, and the columns of its result."""

    errors: tuple[str, ...]
    columns: Mapping[str, str]


def saved_functions() -> dict[str, SavedFunction]:
    """Every saved function by its alias. Its header's line `// Parameters:` holds the parameters."""
    return {path.stem: _saved(path) for path in sorted((KQL / "functions").glob("*.kql"))}


def _saved(path: Path) -> SavedFunction:
    text = path.read_text(encoding="utf-8")
    found = _PARAMETERS.search(text)
    assert found is not None, f"{path.name} does not say its parameters"
    return SavedFunction(name=path.stem, parameters="" if found[1] == "none" else found[1], body=text)


def texts(folder: str) -> dict[str, str]:
    """The KQL files of a folder below `infra/kql`, by name."""
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted((KQL / folder).glob("*.kql"))}


def documented() -> dict[str, str]:
    """The queries in kusto blocks of the documents, by file and number; a blank line separates two, as in the portal."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "infra").rglob("*.md"))]
    return {
        f"{page.relative_to(ROOT)}#{number}": query
        for page in pages
        for number, query in enumerate(_queries(page.read_text(encoding="utf-8")), 1)
    }


def inline() -> dict[str, str]:
    """The queries that stand in Bicep itself, by module and number."""
    return {
        f"{path.name}#{number}": query.replace("\\'", "'")
        for path in sorted((ROOT / "infra").rglob("*.bicep"))
        for number, query in enumerate(_INLINE.findall(path.read_text(encoding="utf-8")), 1)
    }


def _queries(page: str) -> list[str]:
    return [query for block in _BLOCK.findall(page) for query in re.split(r"\n\s*\n", block.strip())]


def diagnose(
    queries: Mapping[str, str],
    tables: Mapping[str, Mapping[str, str]] = TABLES,
    functions: Mapping[str, SavedFunction] | None = None,
) -> dict[str, Diagnosis]:
    """Check queries against tables and saved functions (the shipped ones, where none are given) in one run of Node."""
    known = saved_functions() if functions is None else functions
    node, modules = install_node_modules()
    asked = {
        "tables": tables,
        "functions": {name: {"parameters": each.parameters, "body": each.body} for name, each in known.items()},
        "queries": queries,
    }
    done = subprocess.run(
        [node, _SCRIPT, modules], input=json.dumps(asked), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answered: dict[str, Any] = json.loads(done.stdout)
    return {name: Diagnosis(errors=tuple(each["errors"]), columns=each["columns"]) for name, each in answered.items()}


def as_query(function: SavedFunction) -> str:
    """A saved function as a query that declares and calls it, so that its own text is what is checked."""
    return f"let Declared = ({function.parameters}) {{\n{function.body}\n}};\nDeclared()"
