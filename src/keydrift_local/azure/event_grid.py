"""Event Grid in ARM for a tenant file that says nothing about it, which counts as fully subscribed (docs/formats.md).

What is counted is shown, under a name that says so: whoever lists event subscriptions sees why events arrive.
"""

from __future__ import annotations

from keydrift.resource_id import ResourceId
from keydrift_local.tenant import Tenant
from keydrift_local.tenant_objects import SYSTEM_TOPIC, Entry

NAME = "counted-as-subscribed"
_TOPIC_TYPE = "Microsoft.Resources.Subscriptions"


def counted(tenant: Tenant, subscription_id: str) -> tuple[Entry, ...]:
    """The system topic of a subscription and its event subscription without a filter; none where the file names its own."""
    if tenant.uses_event_grid:
        return ()
    source = f"/subscriptions/{subscription_id}"
    topic = f"{source}/resourceGroups/{NAME}/providers/Microsoft.EventGrid/systemTopics/{NAME}"
    destination: dict[str, object] = {"endpointType": "AzureFunction", "properties": {}}
    properties: dict[str, object] = {"provisioningState": "Succeeded", "destination": destination, "filter": {}}
    return (
        Entry(ResourceId.parse(topic), {"location": "global", "properties": {"source": source, "topicType": _TOPIC_TYPE}}),
        Entry(ResourceId.parse(f"{topic}/eventSubscriptions/{NAME}"), {"properties": properties}),
    )


def counted_in(tenant: Tenant, container: ResourceId, resource_type: str) -> list[Entry]:
    """Of these, the ones of a type (lower case) in a subscription, in a resource group or below a resource."""
    if not resource_type.startswith(SYSTEM_TOPIC) or container.subscription_id is None:
        return []
    mine = counted(tenant, container.parts[1])
    return [each for each in mine if each.id.resource_type == resource_type and container.contains(each.id)]
