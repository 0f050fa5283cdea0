"""A Managed HSM's data plane, by plain REST: keys, local role assignments and definitions (azure-facts 4.3, 5.1).

The monitor needs the local role Managed HSM Crypto Auditor at `/`. Tokens go to hosts of the cloud's HSM suffix only: a host
comes from a consumer's settings, so it is checked before anything is sent there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from keydrift.adapters import arm_decode
from keydrift.adapters.cloud import Cloud
from keydrift.adapters.http import JsonReader
from keydrift.facts import Absent, HsmRoleAssignment, KeyObject, Read, RoleDefinition, Unread
from keydrift.key_uri import KeyUri
from keydrift.resource_id import segment

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential
    from azure.core.pipeline.transport import AioHttpTransport

_VERSION = "api-version=7.5"
_REPAIR = "the local role Managed HSM Crypto Auditor at / of this Managed HSM"
# learn.microsoft.com/azure/key-vault/managed-hsm/quick-create-cli: 3 to 24 letters, digits and dashes
_NAME = re.compile(r"[a-z][0-9a-z-]{0,62}", re.ASCII)
_ROLES = "providers/Microsoft.Authorization"


class ManagedHsmReader:
    """Reads one Managed HSM after another, each at its own host."""

    def __init__(self, cloud: Cloud, credential: AsyncTokenCredential, transport: AioHttpTransport) -> None:
        self._cloud, self._credential, self._transport = cloud, credential, transport
        self._readers: dict[str, JsonReader] = {}

    async def key(self, uri: KeyUri) -> Read[KeyObject]:
        """A key, or one version of it."""
        path = f"/keys/{segment(uri.object_name)}" + (f"/{segment(uri.version)}" if uri.version else "")
        reader = self._reader(uri.host)
        if isinstance(reader, Unread):
            return reader
        return await reader.get(f"{path}?{_VERSION}", lambda body: arm_decode.data_plane_key(body, uri), source=str(uri))

    async def key_versions(self, uri: KeyUri) -> Read[int]:
        """How many versions a key has."""
        reader = self._reader(uri.host)
        if isinstance(reader, Unread):
            return reader
        read = await reader.list(
            f"/keys/{segment(uri.object_name)}/versions?{_VERSION}",
            lambda body: body["kid"].key_uri(),
            source=f"versions of {uri}",
        )
        # The data plane lists no versions for a key that is not there
        return read if isinstance(read, Absent | Unread) else len(read) or Absent(what=str(uri))

    async def role_assignments(self, host: str, scope: str) -> Read[tuple[HsmRoleAssignment, ...]]:
        """The local assignments of one scope, `/` or `/keys/{name}`: a list at `/` does not show those of a key."""
        reader = self._reader(host)
        if isinstance(reader, Unread):
            return reader
        prefix = f"/{'/'.join(segment(part) for part in scope.split('/') if part)}/".replace("//", "/")
        source = f"local role assignments at {scope} of {host}"
        read = await reader.list(f"{prefix}{_ROLES}/roleAssignments?{_VERSION}", arm_decode.hsm_role_assignment, source=source)
        return _listed(read, source)

    async def role_definitions(self, host: str) -> Read[tuple[RoleDefinition, ...]]:
        """Every local role definition, built-in and custom."""
        reader = self._reader(host)
        if isinstance(reader, Unread):
            return reader
        source = f"local role definitions of {host}"
        read = await reader.list(f"/{_ROLES}/roleDefinitions?{_VERSION}", arm_decode.role_definition, source=source)
        return _listed(read, source)

    def _reader(self, host: str) -> JsonReader | Unread:
        # One label before the suffix, and nothing that a client could read as a port, a user name or another host
        if not _NAME.fullmatch(host.removesuffix(f".{self._cloud.hsm_suffix}")):
            return Unread(
                source=f"Managed HSM {host}",
                status=None,
                code="ForeignHost",
                repair=f"name a Managed HSM of {self._cloud.name} (*.{self._cloud.hsm_suffix}) in the encryption settings",
            )
        if host not in self._readers:
            self._readers[host] = JsonReader(
                f"https://{host}", self._cloud.hsm_audience, self._credential, self._transport, _REPAIR
            )
        return self._readers[host]


def _listed[T](read: Absent | Unread | tuple[T, ...], source: str) -> Unread | tuple[T, ...]:
    if isinstance(read, Absent):
        return Unread(source=source, status=404, code="NotFound", repair="check that the Managed HSM is activated")
    return read
