"""What `keydrift doctor` reads of Azure that the monitor does not: tokens, one page of every list, event subscriptions.

A sample is the first page of a list that the product makes: enough to see whether it may be read, cheap however large.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from keydrift.adapters.http import JsonReader, reading
from keydrift.adapters.listing import host_of
from keydrift.adapters.wire import Node
from keydrift.doctor.event_coverage import AdvancedFilter, EventSubscription
from keydrift.doctor.facts import Caller, EventTopic, Listed, Sample
from keydrift.errors import DecodeError
from keydrift.facts import Absent, Read, Unread
from keydrift.resource_id import ResourceId, segment

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

_VERSION = "api-version=2025-02-15"
_EXTENSION = "microsoft.eventgrid/eventsubscriptions"
_SIGN_IN = "check the managed identity (`AZURE_CLIENT_ID` where it is user-assigned), or sign in with `az login`"


class DoctorReader:
    """Reads by ARM, and asks for tokens. `scopes` maps a service's name to the scope of its tokens."""

    def __init__(self, arm: JsonReader, credential: AsyncTokenCredential, scopes: Mapping[str, str]) -> None:
        self._arm, self._credential, self._scopes = arm, credential, scopes

    async def caller(self, service: str) -> Read[Caller]:
        """Get a token for a service, and tell whom it is for."""

        async def ask() -> Caller:
            return _caller((await self._credential.get_token(self._scopes[service])).token)

        return await reading(ask, source=f"token for {service}", repair=_SIGN_IN)

    async def sample(self, url: str, source: str, repair: str) -> Read[Sample]:
        """The first page of a list."""
        return await self._arm.get(url, _sample, source=source, repair=repair)

    async def answers(self, url: str, source: str, repair: str) -> Read[bool]:
        """Whether one document can be read; its content does not matter."""
        return await self._arm.get(url, lambda body: body.needed().present, source=source, repair=repair)

    async def event_topics(self, subscription: str, repair: str) -> Read[tuple[EventTopic, ...]]:
        """The system topics of a subscription."""
        url = f"/subscriptions/{segment(subscription)}/providers/Microsoft.EventGrid/systemTopics?{_VERSION}"
        return _listed(await self._arm.list(url, _topic, source=f"system topics of {subscription}", repair=repair))

    async def event_subscriptions(self, topic: ResourceId, repair: str) -> Read[tuple[EventSubscription, ...]]:
        """The event subscriptions of a system topic."""
        url = f"{topic.url_path}/eventSubscriptions?{_VERSION}"
        return _listed(await self._arm.list(url, _subscription, source=f"event subscriptions of {topic}", repair=repair))

    async def direct_subscriptions(self, subscription: str, repair: str) -> Read[tuple[EventSubscription, ...]]:
        """The event subscriptions that stand on the Azure subscription itself, whose system topic is Azure's."""
        url = f"/subscriptions/{segment(subscription)}/providers/Microsoft.EventGrid/eventSubscriptions?{_VERSION}"
        scope = ResourceId.parse(f"/subscriptions/{subscription}")

        def decode(body: Node) -> EventSubscription | None:
            # The list holds those of every source in the subscription
            return _subscription(body) if body["id"].resource_id().extension_scope(_EXTENSION) == scope else None

        read = _listed(await self._arm.list(url, decode, source=f"event subscriptions of {subscription}", repair=repair))
        return tuple(each for each in read if each is not None) if isinstance(read, tuple) else read


def _listed[T](read: Absent | Unread | tuple[T, ...]) -> Unread | tuple[T, ...]:
    if isinstance(read, Absent):
        return Unread(source=read.what, status=404, code="NotFound", repair="Reader on the subscription")
    return read


def _caller(token: str) -> Caller:
    """The claims of an access token, unverified: for people only. One that cannot be read is a token all the same."""
    pieces = token.split(".")
    try:
        claims = Node(json.loads(base64.urlsafe_b64decode(pieces[1] + "=" * (-len(pieces[1]) % 4))))
        app = claims["appid"] if claims["appid"].present else claims["azp"]
        return Caller(object_id=claims["oid"].lower(), app_id=app.lower(), tenant_id=claims["tid"].lower())
    except (IndexError, binascii.Error, ValueError, DecodeError):
        return Caller()


def _sample(body: Node) -> Sample:
    items = tuple(_item(each) for each in body["value"].needed())
    return Sample(items=items, more=bool(body["nextLink"].text()))


def _item(body: Node) -> Listed:
    uri = body["properties"]["hsmUri"]
    return Listed(id=body["id"].resource_id(), host=host_of(uri) if uri.text() else None)


def _topic(body: Node) -> EventTopic:
    properties = body["properties"]
    return EventTopic(
        id=body["id"].resource_id(),
        source=properties["source"].resource_id(),
        state=properties["provisioningState"].lower() or "",
    )


def _subscription(body: Node) -> EventSubscription:
    properties = body["properties"].needed()
    rules = properties["filter"]
    identity = properties["deliveryWithResourceIdentity"]["destination"]
    destination = identity if identity.present else properties["destination"]
    return EventSubscription(
        name=body["name"].text() or body["id"].resource_id().name,
        destination=destination["endpointType"].text() or "unknown destination",
        state=properties["provisioningState"].lower() or "",
        expires_at=properties["expirationTimeUtc"].time(),
        event_types=rules["includedEventTypes"].words(),
        subject_begins=rules["subjectBeginsWith"].text() or "",
        subject_ends=rules["subjectEndsWith"].text() or "",
        filters=tuple(_filter(each) for each in rules["advancedFilters"]),
    )


def _filter(body: Node) -> AdvancedFilter:
    values = body["values"]
    # Number and boolean operators carry other values: such a filter is told apart by its operator
    words = tuple(str(each.value).lower() for each in values) if isinstance(values.value, list) else ()
    return AdvancedFilter(operator=body["operatorType"].required(), key=body["key"].required(), values=words)
