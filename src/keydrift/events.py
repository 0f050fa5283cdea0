"""Event Grid and CloudEvents JSON to change notices. An event is a hint, never a fact: what matters is not to lose one.

Which events are ours (azure-facts 3.1 to 3.4; names compare case-insensitively, operations segment by segment):

| event type | operation | the notice is about |
|---|---|---|
| `Microsoft.KeyVault.VaultAccessPolicyChanged` | the event type | the vault |
| `Microsoft.KeyVault.{Key,Secret}{NewVersionCreated,NearExpiry,Expired}` | the event type | the key or secret, else the vault |
| `Keydrift.Canary` | none: the monitor's own, which only has to arrive | its id |
| `Microsoft.Resources.Resource{Write,Delete,Action}Success` | `data.operationName`, one of those below | `data.resourceUri` |

| operations | those that count |
|---|---|
| `Microsoft.Authorization/{roleAssignments,roleDefinitions,denyAssignments}` | `write`, `delete` |
| `Microsoft.KeyVault/{vaults,managedHSMs}` and below | `write`, `delete` |
| `Microsoft.ManagedIdentity/userAssignedIdentities` and below | `write`, `delete` |
| `Microsoft.DataProtection/backupVaults`, `Microsoft.RecoveryServices/vaults` and below | `write`, `delete` |
| `Microsoft.Compute/{virtualMachines,disks,diskEncryptionSets}` and below | `write`, `delete` |
| `Microsoft.Resources/subscriptions/resourceGroups` | `delete`, `moveResources/action` |

Everything else in a recognisable envelope is `NotOurs`: certificates, failed and cancelled operations, actions that change
no access (start, listKeys, deploy), resource notifications (which name no caller, azure-facts 3.5), other services.

Schemas: https://learn.microsoft.com/azure/event-grid/event-schema-key-vault and …/event-schema-subscriptions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from keydrift.errors import DecodeError
from keydrift.event_json import MOST_CHARS, Members, fingerprint, instant, members, members_of_base64, parse, short, text
from keydrift.key_uri import KeyUri
from keydrift.model import Actor, ChangeNotice
from keydrift.resource_id import ResourceId

# Event Grid delivers at most 5,000 events in one batch (azure-facts 3.7); more is noise that would become as many rows.
MOST_EVENTS = 5_000

CANARY_TYPE = "Keydrift.Canary"

_VAULT = "microsoft.keyvault/vaults"
_POLICY_CHANGED = "Microsoft.KeyVault.VaultAccessPolicyChanged"
_KEY_VAULT_TYPES: Mapping[str, str] = MappingProxyType(
    {
        spelled.lower(): spelled
        for spelled in (
            _POLICY_CHANGED,
            *(
                f"Microsoft.KeyVault.{kind}{change}"
                for kind in ("Key", "Secret")
                for change in ("NewVersionCreated", "NearExpiry", "Expired")
            ),
        )
    }
)
_RESOURCE_TYPES: Mapping[str, str] = MappingProxyType(
    {
        f"microsoft.resources.resource{kind}success": f"Microsoft.Resources.Resource{kind.capitalize()}Success"
        for kind in ("write", "delete", "action")
    }
)
_OBJECT_KINDS: Mapping[str, str] = MappingProxyType({"key": "keys", "secret": "secrets"})

# Only these types themselves, not what lies below them.
_WATCHED_EXACTLY = frozenset(
    {
        f"microsoft.authorization/{kind}/{change}"
        for kind in ("roleassignments", "roledefinitions", "denyassignments")
        for change in ("write", "delete")
    }
    | {
        "microsoft.resources/subscriptions/resourcegroups/delete",
        "microsoft.resources/subscriptions/resourcegroups/moveresources/action",
    }
)
# These types and everything below them, where the last segment is `write` or `delete`.
_WATCHED_TREES = frozenset(
    {
        ("microsoft.keyvault", "vaults"),
        ("microsoft.keyvault", "managedhsms"),
        ("microsoft.managedidentity", "userassignedidentities"),
        ("microsoft.dataprotection", "backupvaults"),
        ("microsoft.recoveryservices", "vaults"),
        ("microsoft.compute", "virtualmachines"),
        ("microsoft.compute", "disks"),
        ("microsoft.compute", "diskencryptionsets"),
    }
)

# Claims of the caller's token (azure-facts 3.4), lower case.
_OBJECT_ID_CLAIM = "http://schemas.microsoft.com/identity/claims/objectidentifier"
_UPN_CLAIM = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn"

# Why an event is not ours, by the beginning of its lower-case type; the first that fits.
_REASONS = (
    ("microsoft.keyvault.certificate", "certificates protect no backup"),
    ("microsoft.resources.resource", "the operation failed or was cancelled"),
    ("microsoft.resourcenotifications.", "resource notifications name no caller and are not subscribed to"),
    ("microsoft.eventgrid.subscriptionvalidationevent", "the handshake of a new event subscription"),
    ("microsoft.eventgrid.subscriptiondeletedevent", "an event subscription was deleted"),
    ("", "no event type that concerns keys or backups"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotOurs:
    """A well-formed event of a kind that concerns neither keys nor backups."""

    event_id: str | None
    event_type: str | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Undecodable:
    """An event that could not be read. `hint` is what it might concern; None means that it might concern anything."""

    event_id: str | None
    error: DecodeError
    hint: ResourceId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """An event that calls itself the monitor's own; whether it is, its id shows."""

    event_id: str


type Decoded = ChangeNotice | Canary | NotOurs | Undecodable


def decode(payload: str | bytes | object) -> tuple[Decoded, ...]:
    """Decode a delivery: JSON text or bytes, base64 of it, or parsed JSON; one event or a batch, in Event Grid's schema or
    CloudEvents 1.0. One result per event, in order; an empty batch gives none.

    Never raises. Text that is no JSON, and a batch larger than Event Grid's largest, is one `Undecodable` at `$`; one bad event
    does not spoil the others. Paths are those within the event.
    """
    try:
        document = parse(payload) if isinstance(payload, str | bytes) else payload
    except DecodeError as error:
        return (Undecodable(event_id=None, error=error, hint=None),)
    if not isinstance(document, list):
        return (_attempt(document),)
    if len(document) > MOST_EVENTS:
        problem = f"expected at most {MOST_EVENTS} events, got {len(document)}"
        return (Undecodable(event_id=None, error=DecodeError("$", problem), hint=None),)
    return tuple(_attempt(event) for event in document)


def decode_one(event: object) -> ChangeNotice | Canary | NotOurs:
    """Decode one parsed event of either schema. Raises DecodeError with the JSON path of what is missing or wrong.

    A missing id or an unreadable time loses no notice: the id is then the SHA-256 of the event, the time None.
    """
    envelope = _envelope(event)
    key = envelope.event_type.lower()
    if key in _KEY_VAULT_TYPES:
        operation = event_type = _KEY_VAULT_TYPES[key]
        concerned = _vault_or_object(envelope, event_type)
    elif key in _RESOURCE_TYPES:
        event_type, operation = _RESOURCE_TYPES[key], _operation(envelope)
        if not _is_watched(operation):
            return envelope.not_ours("no operation that concerns keys or backups")
        concerned = _changed_resource(envelope)
    elif key == CANARY_TYPE.lower() and envelope.event_id is not None:
        return Canary(event_id=envelope.event_id)
    else:
        return envelope.not_ours(next(reason for start, reason in _REASONS if key.startswith(start)))
    data = envelope.data or {}
    return ChangeNotice(
        event_id=envelope.event_id or fingerprint(event),
        event_type=event_type,
        operation=operation[:MOST_CHARS],
        resource_id=concerned,
        occurred_at=envelope.occurred_at,
        # Key Vault's own events carry no claims; what somebody put there would be nobody's word.
        actor=_actor(data) if key in _RESOURCE_TYPES else None,
        correlation_id=short(data.get("correlationid")),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Envelope:
    """What both schemas say. `source` is Event Grid's `topic`; the paths name the member as the schema at hand does."""

    event_id: str | None
    event_type: str
    source: object
    source_path: str
    subject: object
    occurred_at: datetime | None
    data: Members | None

    def not_ours(self, reason: str) -> NotOurs:
        return NotOurs(event_id=self.event_id, event_type=self.event_type, reason=reason)


def _attempt(event: object) -> Decoded:
    try:
        return decode_one(event)
    except DecodeError as error:
        return Undecodable(event_id=short((members(event) or {}).get("id")), error=error, hint=_hint(event))


def _envelope(event: object) -> _Envelope:
    top = members(event)
    if top is None:
        raise DecodeError("$", "expected an event, a JSON object")
    cloud = "specversion" in top or ("type" in top and "eventtype" not in top)
    if cloud and text(top.get("specversion")) != "1.0":
        raise DecodeError("$.specversion", "expected `1.0`")
    if not cloud and "eventtype" not in top:
        raise DecodeError("$.eventType", "expected an Event Grid event (`eventType`) or CloudEvents 1.0 (`type`, `specversion`)")
    type_name, source_name, time_name = ("type", "source", "time") if cloud else ("eventtype", "topic", "eventtime")
    event_type = text(top.get(type_name))
    if event_type is None:
        raise DecodeError("$.type" if cloud else "$.eventType", "expected the event's type")
    if cloud and text(top.get("source")) is None:
        raise DecodeError("$.source", "expected the event's source")
    return _Envelope(
        event_id=short(top.get("id")),
        event_type=event_type,
        source=top.get(source_name),
        source_path=f"$.{source_name}",
        subject=top.get("subject"),
        occurred_at=instant(top.get(time_name)),
        data=_data(top),
    )


def _data(top: Members) -> Members | None:
    return members_of_base64(top.get("data_base64")) if top.get("data") is None else members(top.get("data"))


def _arm_id(value: object) -> ResourceId | None:
    """An id below a subscription or a tenant-level provider: a blob's subject, `/blobServices/…`, is none."""
    try:
        parsed = ResourceId.parse(text(value) or "")
    except DecodeError:
        return None
    return parsed if len(parsed.segments) > 1 and parsed.segments[0] in {"subscriptions", "providers"} else None


def _hint(event: object) -> ResourceId | None:
    top = members(event) or {}
    data = _data(top) or {}
    for value in (data.get("resourceuri"), top.get("resourceuri"), top.get("subject"), top.get("topic"), top.get("source")):
        found = _arm_id(value)
        # A custom topic says which way an event came, not what it concerns: as a hint it would narrow a sweep to nothing.
        if found is not None and "microsoft.eventgrid" not in found.segments:
            return found
    return None


def _vault_or_object(envelope: _Envelope, event_type: str) -> ResourceId:
    missing = text(envelope.source) is None and (envelope.source is None or isinstance(envelope.source, str))
    stated = _arm_id(envelope.subject if missing else envelope.source)
    vault = stated.up_to(_VAULT) if stated is not None else None
    if vault is None:
        raise DecodeError(envelope.source_path, "expected the ARM id of a vault")
    if event_type == _POLICY_CHANGED:
        return vault  # whatever object it may name, a vault's access policies cover them all
    return _object_in(vault, envelope.data or {})


def _object_in(vault: ResourceId, data: Members) -> ResourceId:
    kind, name = _OBJECT_KINDS.get((text(data.get("objecttype")) or "").lower()), text(data.get("objectname"))
    if kind is None or name is None:
        try:
            address = KeyUri.parse(text(data.get("id")) or "")
        except DecodeError:
            return vault
        kind, name = address.kind, address.object_name
    return vault if any(mark in name for mark in "/?#") else vault.child(kind, name)


def _operation(envelope: _Envelope) -> str:
    data = envelope.data
    if data is None:
        raise DecodeError("$.data", "expected an object")
    authorization = members(data.get("authorization")) or {}
    operation = text(data.get("operationname")) or text(authorization.get("action"))
    if operation is None:
        raise DecodeError("$.data.operationName", "expected the name of an operation")
    return operation


def _is_watched(operation: str) -> bool:
    segments = operation.lower().strip("/").split("/")
    if "/".join(segments) in _WATCHED_EXACTLY:
        return True
    return len(segments) > 2 and segments[-1] in {"write", "delete"} and (segments[0], segments[1]) in _WATCHED_TREES


def _changed_resource(envelope: _Envelope) -> ResourceId:
    stated = _arm_id((envelope.data or {}).get("resourceuri")) or _arm_id(envelope.subject)
    if stated is None:
        raise DecodeError("$.data.resourceUri", "expected the ARM id of a resource, here or in `subject`")
    return stated


def _actor(data: Members) -> Actor | None:
    """The caller, as the claims tell it. None only where there are no claims; claims that name nobody give a nameless actor.

    Four are kept, object id, UPN, application id and IP, and no other leaves this function: a display name is a person's too, and
    anybody may choose one.
    """
    claims = members(data.get("claims"))
    if not claims:
        return None
    request = members(data.get("httprequest")) or {}
    return Actor(
        object_id=short(claims.get(_OBJECT_ID_CLAIM)),
        name=short(claims.get(_UPN_CLAIM)),
        app_id=short(claims.get("appid")),
        ip=short(claims.get("ipaddr")) or short(request.get("clientipaddress")),
    )
