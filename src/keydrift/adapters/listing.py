"""What an inventory has listed so far, and what of it could not be read: resources by type and id, key stores by host."""

from __future__ import annotations

from dataclasses import dataclass, field

from keydrift.adapters import inventory_decode as decode
from keydrift.adapters.wire import Node
from keydrift.errors import DecodeError
from keydrift.facts import Absent, Unread
from keydrift.key_uri import KeyUri
from keydrift.resource_id import ResourceId

READER = "Reader on the subscription"
# The versions that the responses in the public corpus were written for
VERSIONS = {
    "Microsoft.KeyVault/vaults": "2026-02-01",
    "Microsoft.KeyVault/managedHSMs": "2026-02-01",
    "Microsoft.DataProtection/backupVaults": "2024-04-01",
    "Microsoft.RecoveryServices/vaults": "2024-04-01",
    "Microsoft.Compute/virtualMachines": "2024-03-01",
    "Microsoft.Compute/disks": "2023-10-02",
    "Microsoft.Compute/diskEncryptionSets": "2023-10-02",
}


@dataclass(slots=True)
class Listing:
    """What has been listed so far; bodies by normalised id."""

    bodies: dict[str, dict[str, Node]] = field(default_factory=lambda: {kind: {} for kind in VERSIONS})
    unread: list[Unread] = field(default_factory=list)

    def keep(self, kind: str, body: Node) -> None:
        self.bodies[kind][body["id"].resource_id().key] = body

    def decoded[T](self, source: str, work: T | None, error: DecodeError | None = None) -> T | None:
        if error is not None:
            code = f"UnexpectedShape at {error.path}"
            repair = f"report this resource's shape: {error.problem}"
            self.unread.append(Unread(source=source, status=200, code=code, repair=repair))
        return work


def items_of(read: Absent | Unread | tuple[Node, ...], listing: Listing) -> tuple[Node, ...]:
    match read:
        case Unread():
            listing.unread.append(read)
            return ()
        case Absent(what=what):
            listing.unread.append(Unread(source=what, status=404, code="NotFound", repair=READER))
            return ()
        case _:
            return read


def host_of(uri: Node) -> str:
    try:
        return KeyUri.parse(f"{uri.required().rstrip('/')}/keys/any").host
    except DecodeError as error:
        raise DecodeError(uri.path, error.problem) from error


def stores_of(listing: Listing) -> tuple[dict[str, ResourceId], dict[str, dict[str, str]]]:
    """Every listed key store by host, and its tags; the address is in its properties."""
    stores: dict[str, ResourceId] = {}
    tags: dict[str, dict[str, str]] = {}
    for kind, member in (("Microsoft.KeyVault/vaults", "vaultUri"), ("Microsoft.KeyVault/managedHSMs", "hsmUri")):
        for body in listing.bodies[kind].values():
            try:
                uri = body["properties"].needed()[member]
                if uri.text():
                    stores[host_of(uri)] = body["id"].resource_id()
                    tags |= {host_of(uri): found} if (found := decode.tags_of(body)) else {}
            except DecodeError as error:
                listing.decoded(str(body["id"].value), None, error)
    return stores, tags
