"""Data-plane addresses of keys and secrets: `https://{key store}/keys/{name}[/{version}]`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from keydrift.errors import DecodeError
from keydrift.resource_id import shown

type ObjectKind = Literal["keys", "secrets"]

# learn.microsoft.com/azure/key-vault/general/about-keys-secrets-certificates, "Object identifiers": names are 1 to 127 letters,
# digits and dashes; versions are made by Azure and hold nothing else. Braces stand in Microsoft's own examples, and mean nothing
# in a URL's path or host
_NAME = re.compile(r"[0-9A-Za-z{}-]{1,127}", re.ASCII)
_LABEL = re.compile(r"[0-9a-z{]([0-9a-z{}-]{0,61}[0-9a-z}])?", re.ASCII)
_MOST_CHARS = 1_024


@dataclass(frozen=True, slots=True)
class KeyUri:
    """A key's (or secret's) address. Hosts and names compare case-insensitively, as Key Vault's do.

    Equality covers the version: `versionless` is what a key binding is unique by.
    """

    host: str
    kind: ObjectKind
    name: str
    version: str | None = None
    spelled: str = field(default="", compare=False)

    @classmethod
    def parse(cls, text: str) -> KeyUri:
        """Parse `https://kv1.vault.azure.net/keys/k1/…`. Raises DecodeError for anything else.

        Only what this returns goes into a URL, so a name that is none of Key Vault's, and a host that is no plain DNS name, are
        refused here. Whether a host may be asked is for whoever asks: any cloud's may stand in a document.
        """
        cleaned = text.strip()
        if len(cleaned) > _MOST_CHARS or not cleaned.isascii() or not cleaned.isprintable():
            # `urlsplit` would drop tabs and line ends silently
            raise DecodeError("$", f"expected the address of a key or secret, got {shown(text)}")
        try:
            parts = urlsplit(cleaned)
            host = (parts.hostname or "").lower().rstrip(".")
            plain = parts.username is None and parts.password is None and parts.port in (None, 443)
        except ValueError as error:
            raise DecodeError("$", f"expected the address of a key or secret, got {shown(text)}") from error
        path = [part for part in parts.path.split("/") if part]
        labels = host.split(".")
        plain = plain and len(host) <= 253 and len(labels) >= 2 and all(map(_LABEL.fullmatch, labels))
        if parts.scheme.lower() != "https" or not plain or len(path) not in (2, 3) or not all(map(_NAME.fullmatch, path)):
            raise DecodeError("$", f"expected `https://<key store>/keys/<name>[/<version>]`, got {shown(text)}")
        kind = path[0].lower()
        if kind == "keys":
            return cls(host, "keys", path[1].lower(), path[2].lower() if len(path) == 3 else None, path[1])
        if kind == "secrets":
            return cls(host, "secrets", path[1].lower(), path[2].lower() if len(path) == 3 else None, path[1])
        raise DecodeError("$", f"expected `/keys/` or `/secrets/` in {shown(text)}")

    def __str__(self) -> str:
        base = f"https://{self.host}/{self.kind}/{self.object_name}"
        return f"{base}/{self.version}" if self.version else base

    @property
    def object_name(self) -> str:
        """The name as it was spelled, for commands and display."""
        return self.spelled or self.name

    @property
    def versionless(self) -> KeyUri:
        """The same key without a version."""
        return KeyUri(self.host, self.kind, self.name, None, self.spelled) if self.version else self

    @property
    def is_managed_hsm(self) -> bool:
        """Whether the host is a Managed HSM's: `*.managedhsm.…` in every cloud (azure-facts 5.4)."""
        return self.host.split(".")[1:2] == ["managedhsm"]

    @property
    def store_name(self) -> str:
        """The key store's name: the host's first label."""
        return self.host.split(".", 1)[0]
