"""Looking up what a change concerns: by place it is found as by a look at every key binding."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keydrift.key_uri import KeyUri
from keydrift.model import AppIdentity, ChangeNotice, Consumer, KeyBinding, Scenario, StoreObject
from keydrift.resource_id import ResourceId
from keydrift.watchlist import Watchlist

# Few names, one the beginning of another, so that ids often meet and nearly meet
NAMES = st.sampled_from(["s", "s1", "s10", "S1", "providers"])
PLACES = st.lists(NAMES, max_size=5).map(lambda parts: ResourceId.parse("/" + "/".join(parts)))


def _binding(number: int, store: ResourceId, consumer: ResourceId) -> KeyBinding:
    target = StoreObject(uri=KeyUri(f"kv{number}.vault.azure.net", "keys", "k1"), store_id=store)
    return KeyBinding(
        id=str(number),
        scenario=Scenario.CVM_CMK,
        identity=AppIdentity(app_id="app"),
        target=target,
        consumers=(Consumer(id=consumer),),
    )


@given(pairs=st.lists(st.tuples(PLACES, PLACES), max_size=8), changed=PLACES)
def test_a_look_up_finds_what_a_scan_finds(pairs: list[tuple[ResourceId, ResourceId]], changed: ResourceId) -> None:
    """A change concerns a key store that it is, contains or stands in, and whose consumer it is or contains: no more, no less."""
    bindings = [_binding(number, *pair) for number, pair in enumerate(pairs)]
    notice = ChangeNotice(event_id="e", event_type="t", operation="o", resource_id=changed, occurred_at=None)
    expected = {
        binding.target.uri.host
        for binding, (store, consumer) in zip(bindings, pairs, strict=True)
        if changed.contains(store) or store.contains(changed) or changed.contains(consumer)
    }
    assert set(Watchlist.of(bindings).affected_by(notice)) == expected
