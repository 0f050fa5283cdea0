"""Key stores and their keys on the ARM plane, through azure-mgmt-keyvault: no data-plane right needed (azure-facts 5.1, 5.3)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from azure.mgmt.keyvault.aio import KeyVaultManagementClient

from keydrift.adapters import arm_decode
from keydrift.adapters.cloud import Cloud
from keydrift.adapters.http import read_policies, reading
from keydrift.adapters.limits import MOST_PAGES, OneHostPolicy, too_many_pages
from keydrift.adapters.wire import Node
from keydrift.errors import DecodeError
from keydrift.facts import Absent, DeletedKeyStore, KeyObject, KeyStore, Read, Unread, object_not_placed
from keydrift.model import StoreObject
from keydrift.resource_id import ResourceId

if TYPE_CHECKING:
    from azure.core.async_paging import AsyncItemPaged
    from azure.core.credentials_async import AsyncTokenCredential
    from azure.core.pipeline.transport import AioHttpTransport

# Versions before 2026-02-01 retire on 27 February 2027 (azure-facts 4.2)
API_VERSION = "2026-02-01"
_HSM = "microsoft.keyvault/managedhsms"
_STORES = ("microsoft.keyvault/vaults", _HSM)


def _raw(response: object, _model: object, _headers: object) -> Node:
    # The raw body: a model of one API version would drop members that it does not know
    return Node(response.http_response.json())  # type: ignore[attr-defined]  # azure-core's PipelineResponse, untyped here


async def _answered[T](ask: Awaitable[T]) -> T:
    """Await the SDK, which takes a body apart before it shows it: what it stumbles over is an unexpected shape, no crash."""
    try:
        return await ask
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DecodeError("$", "expected the JSON that azure-mgmt-keyvault knows") from error


async def _every[T](paged: AsyncItemPaged[T]) -> list[T]:
    """Every item of an SDK's list. Raises RefusedAnswerError where it has no end."""
    found: list[T] = []
    pages = 0
    async for page in paged.by_page():
        pages += 1
        if pages > MOST_PAGES:
            raise too_many_pages()
        found += [each async for each in page]
    return found


def _no_key_store(store_id: ResourceId) -> Unread | None:
    """Why an id that a consumer's settings name is not asked for: it has to be a key store's own, in full."""
    if store_id.resource_type in _STORES and store_id.resource_group and len(store_id.segments) == 8:
        return None
    repair = "name a key vault or a Managed HSM by its resource id in the encryption settings"
    return Unread(source=f"key store {store_id}", status=None, code="NotAKeyStore", repair=repair)


class KeyVaultReader:
    """Reads vaults, Managed HSMs, keys and secrets by ARM id."""

    def __init__(self, cloud: Cloud, credential: AsyncTokenCredential, transport: AioHttpTransport) -> None:
        self._cloud, self._credential, self._transport = cloud, credential, transport
        self._clients: dict[str, KeyVaultManagementClient] = {}

    async def key_store(self, store_id: ResourceId) -> Read[KeyStore]:
        """The key store itself."""
        if (stranger := _no_key_store(store_id)) is not None:
            return stranger
        group, name = store_id.resource_group or "", store_id.name
        client = self._client(store_id)
        if store_id.resource_type == _HSM:
            return await self._read(
                lambda: client.managed_hsms.get(group, name, cls=_raw),
                arm_decode.managed_hsm,
                f"Managed HSM {store_id}",
                "managedHSMs/read",
            )
        return await self._read(
            lambda: client.vaults.get(group, name, cls=_raw), arm_decode.key_vault, f"key vault {store_id}", "vaults/read"
        )

    async def deleted_key_store(self, store_id: ResourceId) -> Read[DeletedKeyStore]:
        """The soft-deleted key store of that id, from the subscription's list: its location is not known any more."""
        if (stranger := _no_key_store(store_id)) is not None:
            return stranger
        client = self._client(store_id)
        hsm = store_id.resource_type == _HSM
        source = f"soft-deleted key stores of subscription {store_id.subscription_id}"

        async def listed() -> list[Node]:
            pages = client.managed_hsms.list_deleted() if hsm else client.vaults.list_deleted()
            return [Node(item.as_dict(), f"$.value[{index}]") for index, item in enumerate(await _every(pages))]

        async def ask() -> DeletedKeyStore | None:
            found = (arm_decode.deleted_key_store(item) for item in await _answered(listed()))
            return next((each for each in found if each.id == store_id), None)

        word = "deletedManagedHSMs" if hsm else "deletedVaults"
        read = await reading(ask, source=source, repair=f"Microsoft.KeyVault/{word}/read")
        return Absent(what=f"{store_id} among the {source}") if read is None else read

    async def key_object(self, target: StoreObject) -> Read[KeyObject]:
        """A vault's key (current or, where the address says so, one version) or the latest version of a secret."""
        store, uri = target.store_id, target.uri
        if store is None:
            return object_not_placed(target.uri)
        if (stranger := _no_key_store(store)) is not None:
            return stranger
        group, vault, name = store.resource_group or "", store.name, uri.object_name
        client = self._client(store)
        version = uri.version

        def ask() -> Awaitable[object]:
            if uri.kind == "secrets":
                return client.secrets.get(group, vault, name, cls=_raw)
            if version is not None:
                return client.keys.get_version(group, vault, name, version, cls=_raw)
            return client.keys.get(group, vault, name, cls=_raw)

        right = "vaults/keys/versions/read" if version and uri.kind == "keys" else f"vaults/{uri.kind}/read"
        return await self._read(ask, lambda body: arm_decode.arm_object(body, uri), str(uri), right)

    async def key_versions(self, target: StoreObject) -> Read[int]:
        """How many versions a vault's key has: every page of its list, so dear, and asked for rarely."""
        store, uri = target.store_id, target.uri
        if store is None:
            return object_not_placed(target.uri)
        if (stranger := _no_key_store(store)) is not None:
            return stranger
        pages = self._client(store).keys.list_versions

        async def listed() -> int:
            return len(await _every(pages(store.resource_group or "", store.name, uri.object_name)))

        async def ask() -> int:
            count = await _answered(listed())
            if not count:
                # The SDK takes a page without `value` for an empty one, and a key has at least its current version
                raise DecodeError("$.value", "expected at least one version")
            return count

        right = "Microsoft.KeyVault/vaults/keys/versions/read (the role Reader holds it)"
        return await reading(ask, source=f"versions of {uri}", repair=right)

    def _client(self, resource: ResourceId) -> KeyVaultManagementClient:
        subscription = resource.subscription_id or ""
        if subscription not in self._clients:
            manager = f"https://{self._cloud.resource_manager}"
            self._clients[subscription] = KeyVaultManagementClient(
                self._credential,
                subscription,
                manager,
                api_version=API_VERSION,
                transport=self._transport,
                # The SDK follows `nextLink` wherever it leads, with the token
                policies=[OneHostPolicy(manager), *read_policies(self._credential, manager)],
            )
        return self._clients[subscription]

    async def _read[T](
        self, ask: Callable[[], Awaitable[object]], decode: Callable[[Node], T], source: str, right: str
    ) -> Read[T]:
        async def read() -> T:
            body = await _answered(ask())
            assert isinstance(body, Node)  # what `_raw` returned
            return decode(body)

        return await reading(read, source=source, repair=f"Microsoft.KeyVault/{right} (the role Reader holds it)")
