"""What happens in a simulated world: steps, drawn from a seed. A history is plain data, so that it can be cut down and kept.

Steps that a scenario file knows are spelled as there (formats); the others stand beside them under names of their own.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from random import Random
from typing import Any

from keydrift.model import PermissionModel
from support import tenants
from support.tenants import Document

type Step = dict[str, Any]

# The longest that a read may lag behind a change: shorter than the two minutes after which an event's key store is read again
LAG_BOUND_S = 100
ACTORS = tuple({"objectId": tenants.guid(500 + n), "upn": f"admin{n}@contoso.com", "ip": "203.0.113.7"} for n in range(2))


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A tenant and what happens to it. `workers` answer at the same time."""

    seed: int
    tenant: Document
    steps: tuple[Step, ...]
    workers: int = 1
    settings: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Toggle:
    """A way to take something away, and the way back."""

    name: str
    away: Document
    back: Document


def history_of(seed: int) -> History:
    """The history of a seed."""
    chance = Random(seed)
    tenant = _tenant(chance)
    toggles, gone = toggles_of(tenant), dict[str, Toggle]()
    steps: list[Step] = [{"sweep": True}]
    for _ in range(chance.randrange(4, 14)):
        steps += _drawn(chance, toggles, gone)
    return History(
        seed=seed,
        tenant=tenant,
        steps=tuple(steps),
        workers=chance.choice((1, 1, 2)),
        settings=chance.choices(({}, {"KEYDRIFT_SWEEP_KEY_READS": "1"}, {"KEYDRIFT_INVENTORY": "resource-graph"}), (80, 15, 5))[
            0
        ],
    )


def _tenant(chance: Random) -> Document:
    if chance.random() < 0.3:
        return estate(
            chance.randrange(2, 4),
            tuple(chance.sample((tenants.SUBSCRIPTION, tenants.OTHER_SUBSCRIPTION), chance.choice((1, 2)))),
        )
    return tenants.healthy(*chance.choice(tenants.HEALTHY))


def estate(vaults: int, subscriptions: tuple[str, ...]) -> Document:
    """RBAC vaults of one key each, which a Backup vault each may use; names and groups of which one begins with another."""
    resources: list[Document] = []
    assignments: list[Document] = []
    for subscription in subscriptions:
        for number in range(vaults):
            where: Any
            name, where = f"kv{subscription[-1]}{'0' * number}", {"subscription": subscription, "group": f"rg1{'0' * number}"}
            object_id = f"1de00000-0000-0000-{subscription[-1]:0>4}-{number:012d}"
            key = "k10" if number == 1 else "k1"
            key_uri = f"https://{name}.vault.azure.net/keys/{key}"
            resources += [
                tenants.key_vault(name, rbac=True, **where),
                tenants.key(key, vault=name, **where),
                tenants.backup_vault(f"bv{number}", key_uri, tenants.system_identity(object_id), **where),
            ]
            # Some at the vault, some at its resource group
            scope = tenants.vault_id(name, **where)
            scope = scope if number % 2 else scope.partition("/providers/")[0]
            role = tenants.CRYPTO_SERVICE_ENCRYPTION_USER
            assignments.append(tenants.role_assignment(len(assignments) + 1, scope, role, object_id))
            if key == "k10":
                # Looks like a grant, and is another key's
                near = f"{tenants.vault_id(name, **where)}/keys/k1"
                assignments.append(tenants.role_assignment(len(assignments) + 1, near, role, object_id))
    return tenants.tenant(*resources, roleAssignments=assignments)


def toggles_of(tenant: Document) -> list[Toggle]:
    """Every single thing of a tenant that can be taken away and given back."""
    found = [Toggle("role-assignment", {"delete": each["id"]}, {"put": each}) for each in tenant.get("roleAssignments", [])]
    backup = tenant["directory"]["servicePrincipals"][0]
    address = f"directory/servicePrincipals/{backup['id']}"
    found.append(
        Toggle(
            "principal", {"merge": {"id": address, "accountEnabled": False}}, {"merge": {"id": address, "accountEnabled": True}}
        )
    )
    for each in tenant["resources"]:
        found += _of_resource(each)
    for hsm, data in tenant.get("managedHsms", {}).items():
        for each in data["roleAssignments"]:
            at = f"{hsm}/roleAssignments/{each['name']}"
            found.append(Toggle("hsm-role", {"delete": at}, {"put": {"id": at, **each}}))
        key = f"{hsm}/keys/{data['keys'][0]['name']}"
        found.append(
            Toggle(
                "hsm-key",
                {"merge": {"id": key, "attributes": {"enabled": False}}},
                {"merge": {"id": key, "attributes": {"enabled": True}}},
            )
        )
    return found


def _of_resource(each: Document) -> list[Toggle]:
    at, kind = each["id"], each["id"].split("/")[-2].lower()

    def merge(name: str, away: Document, back: Document) -> Toggle:
        return Toggle(name, {"merge": {"id": at, "properties": away}}, {"merge": {"id": at, "properties": back}})

    properties = deepcopy(each.get("properties", {}))
    match kind:
        case "keys" | "secrets":
            return [
                merge(f"{kind[:-1]}-disabled", {"attributes": {"enabled": False}}, {"attributes": {"enabled": True}}),
                Toggle(f"{kind[:-1]}-deleted", {"delete": at}, {"put": each}),
            ]
        case "vaults" if "/Microsoft.KeyVault/" in at:
            rbac = properties["enableRbacAuthorization"]
            deny = tenants.deny_assignment(
                901, at, ["Microsoft.KeyVault/vaults/*"], [{"id": tenants.guid(0), "type": "SystemDefined"}]
            )
            return [
                merge("model", {"enableRbacAuthorization": not rbac}, {"enableRbacAuthorization": rbac}),
                merge("network", {"networkAcls": {"defaultAction": "Deny", "bypass": "None"}}, {"networkAcls": None}),
                merge("purge-protection", {"enablePurgeProtection": None}, {"enablePurgeProtection": True}),
                *([Toggle("deny", {"put": deny}, {"delete": deny["id"]})] if rbac else []),
                *([] if rbac else [merge("policies", {"accessPolicies": []}, {"accessPolicies": properties["accessPolicies"]})]),
            ]
        case "backupvaults" | "diskencryptionsets":
            none: Document = {"identity": {"type": "None", "principalId": None, "tenantId": None}}
            return [
                Toggle("identity", {"merge": {"id": at, **none}}, {"put": each}),
                Toggle("consumer", {"delete": at}, {"put": each}),
            ]
        case "protecteditems":
            return [Toggle("protection", {"delete": at}, {"put": each})]
        case _:
            return []


# --- the draw ------------------------------------------------------------------------------------------------------------


def _drawn(chance: Random, toggles: list[Toggle], gone: dict[str, Toggle]) -> list[Step]:
    kind = chance.choices(
        ("change", "advance", "fault", "clear", "sweep", "crash", "lag", "garbage", "cut", "conflict", "skew"),
        (34, 22, 14, 7, 5, 8, 4, 3, 3, 3, 2),
    )[0]
    match kind:
        case "change":
            return [
                _change(chance, toggles, gone),
                *([{"advance": f"PT{chance.randrange(1, 90)}S"}] if chance.random() < 0.6 else []),
            ]
        case "advance":
            return [{"advance": f"PT{chance.choice((5, 20, 60, 130, 300, 700, 1000))}S"}]
        case "fault":
            return [{"fault": _fault(chance)}]
        case "clear":
            return [{"fault": None}]
        case "sweep":
            return [{"sweep": True}]
        case "crash":
            return [{"crash": {"after": chance.randrange(1, 40), "applied": chance.random() < 0.5}}]
        case "lag":
            return [{"lag": chance.choice((0, 5, 30, LAG_BOUND_S))}]
        case "garbage":
            return [
                {"event": chance.choice(({"id": "x", "eventType": None}, {"nonsense": 1}, [], {"id": 3, "specversion": "1.0"}))}
            ]
        case "cut":
            return [{"cut": chance.choice(("roleAssignments", "/keys/", "denyAssignments", "servicePrincipals", "/vaults"))}]
        case "conflict":
            return [{"conflict": chance.randrange(1, 10)}]
        case _:
            return [{"skew": chance.choice((-60, -5, 0, 5, 60))}]


def _change(chance: Random, toggles: list[Toggle], gone: dict[str, Toggle]) -> Step:
    """Something goes, or comes back: one at a time of each object, so that what comes back is what went."""
    if gone and chance.random() < 0.45:
        at = chance.choice(sorted(gone))
        change = gone.pop(at).back
    else:
        free = [each for each in toggles if _object(each) not in gone]
        if not free:
            at = chance.choice(sorted(gone))
            change = gone.pop(at).back
        else:
            toggle = chance.choice(free)
            gone[_object(toggle)] = toggle
            change = toggle.away
    step: Step = {"change": change, "actor": chance.choice(ACTORS)}
    if chance.random() < 0.2:
        step["silent"] = True
    step["deliver"] = [
        {"after": chance.choice((0, 0, 0, 1, 20, 200)), "copies": chance.choice((0, 1, 1, 1, 1, 2, 3))} for _ in range(2)
    ]
    return step


def _object(toggle: Toggle) -> str:
    verb = next(iter(toggle.away))
    return str(toggle.away[verb] if verb == "delete" else toggle.away[verb]["id"])


_MATCHES = (
    "GET *",
    "GET */vaults/*",
    "GET *roleAssignments*",
    "GET *denyAssignments*",
    "GET *roleDefinitions*",
    "GET *roleAssignmentScheduleInstances*",
    "GET */keys/*",
    "GET https://graph.microsoft.com/*",
    "GET *.managedhsm.azure.net/*",
    "GET *backupVaults*",
    "GET *protectedItems*",
    "POST *resourcegraph*",
    "POST *dataCollectionRules*",
)


def _fault(chance: Random) -> Document:
    fault: Document = {"match": chance.choice(_MATCHES), "status": chance.choice((0, 403, 429, 429, 500, 503))}
    if chance.random() < 0.6:
        fault["times"] = chance.choice((1, 2, 6, 30))
    if fault["status"] == 429 and chance.random() < 0.5:
        fault["headers"] = {"Retry-After": chance.choice(("1", "30", "600"))}
    return fault


def model_of(tenant: Document) -> str:
    """What kind of tenant it is, for the statistics."""
    if "managedHsms" in tenant:
        return str(PermissionModel.MANAGED_HSM)
    vaults = [each for each in tenant["resources"] if "/Microsoft.KeyVault/vaults/" in each["id"]]
    return str(PermissionModel.RBAC if vaults[0]["properties"]["enableRbacAuthorization"] else PermissionModel.ACCESS_POLICY)
