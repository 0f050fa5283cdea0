"""What people declare in `watchlist.yaml`: key bindings that no resource shows, and exemptions. Pure; reading it is an adapter's.

INVARIANT (never silent): an exemption changes neither verdict nor severity; it marks them, until it lapses by itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from keydrift.alerts.blind_spot import reckoned
from keydrift.catalogue import CODES
from keydrift.facts import Unread
from keydrift.inventory import ANY_TAGS, Inventory, TagNames, placed
from keydrift.key_uri import KeyUri
from keydrift.model import (
    AppIdentity,
    Consumer,
    IdentityReference,
    KeyBinding,
    ResourceIdentity,
    Scenario,
    State,
    Verdict,
)
from keydrift.resource_id import ResourceId
from keydrift.watchlist import binding_id

EVERY_CODE = "*"
# The row's `Reason` where an exemption ended by its expiry
LAPSED = "exemption-lapsed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Which key bindings an exemption is for: all members given must fit, and at least one is given.

    `binding` is a key binding's id. The others are patterns in which `*` stands for any run of characters; each fits the whole
    text or not at all, in any letter case: `key` the versionless key address, `scenario` the scenario, and `consumer` the ARM
    ids of *all* the binding's consumers, so that an exempted test machine hides no other machine that needs the same key.
    """

    binding: str | None = None
    key: str | None = None
    scenario: str | None = None
    consumer: str | None = None

    def __post_init__(self) -> None:
        if not any((self.binding, self.key, self.scenario, self.consumer)):
            raise ValueError("a match needs at least one of binding, key, scenario, consumer")

    def fits(self, binding: KeyBinding) -> bool:
        """Whether this is one of them."""
        consumer = self.consumer
        return (
            (self.binding is None or self.binding.lower() == binding.id.lower())
            and (self.key is None or fits(self.key, str(binding.target.uri.versionless)))
            and (self.scenario is None or fits(self.scenario, binding.scenario))
            and (consumer is None or (bool(binding.consumers) and all(fits(consumer, each.id.key) for each in binding.consumers)))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Exemption:
    """Findings that somebody answers for, until `expires` (in UTC, and still valid at that instant).

    `codes` are catalogue codes, or `*` for every one. `where` is the file and position that it stands at.
    """

    match: Match
    codes: frozenset[str]
    justification: str
    author: str
    expires: datetime
    where: str = ""

    def __post_init__(self) -> None:
        unknown = self.codes - CODES.keys() - {EVERY_CODE}
        if not self.codes or unknown:
            raise ValueError(f"an exemption needs finding codes of the catalogue, got {sorted(self.codes)}")
        if not self.justification or not self.author or self.expires.tzinfo is None:
            raise ValueError("an exemption needs a justification, an author and an expiry with an offset")

    def covers(self, code: str) -> bool:
        """Whether it is for that finding code."""
        return code in self.codes or EVERY_CODE in self.codes

    @property
    def text(self) -> str:
        """Why, who and until when, in one phrase."""
        return f"{self.justification} ({self.author}, expires {self.expires.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ})"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExemptionOutcome:
    """The exemptions by which all findings of a verdict are exempt (none: it is not); else those that would have, had they not
    lapsed."""

    by: tuple[Exemption, ...] = ()
    lapsed: tuple[Exemption, ...] = ()

    @property
    def exempted(self) -> bool:
        """Whether all findings are exempt."""
        return bool(self.by)

    @property
    def reason(self) -> str | None:
        """The justifications with their authors and expiries; None where it is not exempt."""
        return "; ".join(each.text for each in self.by) or None

    @property
    def note(self) -> str | None:
        """What a row says of exemptions: the reason, or that they lapsed; None where there is nothing to say."""
        return self.reason or "; ".join(f"lapsed: {each.text}" for each in self.lapsed) or None

    def turn(self, before: str | None) -> str | None:
        """How this differs from the reason that was recorded, in a word for the row's `Reason`; None where it does not."""
        if self.reason == before:
            return None
        if before is None:
            return "exemption-began"
        if self.exempted:
            return "exemption-changed"
        return LAPSED if self.lapsed else "exemption-ended"


NOT_EXEMPT = ExemptionOutcome()


def exempted(verdict: Verdict, exemptions: Iterable[Exemption], now: datetime) -> ExemptionOutcome:
    """Whether *all* findings of a verdict that is not held are covered by exemptions that are valid now, several together too."""
    # What a blind spot hides is as exempt as it was
    codes = reckoned(verdict.codes, verdict.unseen) if verdict.state is State.LOST else verdict.codes
    if verdict.state is State.HELD or not codes:
        return NOT_EXEMPT
    fitting = [each for each in exemptions if any(map(each.covers, codes)) and each.match.fits(verdict.binding)]
    valid = tuple(each for each in fitting if now <= each.expires)
    uncovered = [code for code in codes if not any(each.covers(code) for each in valid)]
    if not uncovered:
        return ExemptionOutcome(by=valid)
    lapsed = tuple(each for each in fitting if each not in valid and any(map(each.covers, uncovered)))
    if all(any(each.covers(code) for each in lapsed) for code in uncovered):
        return ExemptionOutcome(lapsed=lapsed)
    return NOT_EXEMPT


def fits(pattern: str, text: str) -> bool:
    """Whether the pattern, in which `*` stands for any run of characters, fits the whole text in any letter case."""
    first, *rest = pattern.lower().split("*")
    text = text.lower()
    if not rest:
        return first == text
    *middle, last = rest
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for part in middle:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


# --- key bindings ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredBinding:
    """A key binding as somebody wrote it down. `where` is the file and position that it stands at.

    `identity` is None for the scenarios in which the Backup Management Service itself uses the key.
    """

    scenario: Scenario
    key: KeyUri
    consumer: ResourceId
    where: str
    key_store: ResourceId | None = None
    identity: ResourceIdentity | None = None
    secrets: tuple[KeyUri, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Declarations:
    """Everything that a `watchlist.yaml` declares."""

    bindings: tuple[DeclaredBinding, ...] = ()
    exemptions: tuple[Exemption, ...] = ()


NOTHING_DECLARED = Declarations()


def declared_bindings(
    declarations: Declarations,
    discovered: Iterable[KeyBinding],
    inventory: Inventory,
    backup_app_id: str,
    tags: TagNames = ANY_TAGS,
) -> tuple[KeyBinding, ...]:
    """The discovered key bindings and the declared ones, each once, in a stable order.

    Where both know one, what the resources show stands, and the declared consumers and secrets are added.
    """
    found = {binding.id: binding for binding in discovered}
    for each in declarations.bindings:
        made = _key_binding(each, inventory, backup_app_id, tags)
        known = found.get(made.id)
        found[made.id] = _with(known, made) if known else made
    return tuple(found[key] for key in sorted(found))


def _key_binding(declared: DeclaredBinding, inventory: Inventory, backup_app_id: str, tags: TagNames) -> KeyBinding:
    identity: IdentityReference = declared.identity or AppIdentity(app_id=backup_app_id)
    is_key = declared.key.kind == "keys"
    target = declared.key.versionless if is_key else declared.key
    versions = (declared.key.version,) if is_key and declared.key.version else ()

    return KeyBinding(
        id=binding_id(declared.scenario, identity, target),
        scenario=declared.scenario,
        identity=identity,
        target=placed(target, declared.key_store, inventory, tags),
        secrets=tuple(placed(uri, None, inventory, tags) for uri in declared.secrets),
        consumers=(Consumer(id=declared.consumer, key_versions=versions),),
    )


def _with(known: KeyBinding, declared: KeyBinding) -> KeyBinding:
    consumers = {each.id: each for each in (*declared.consumers, *known.consumers)}
    named = {each.uri for each in known.secrets} | {each.uri.versionless for each in known.secrets}
    return replace(
        known,
        target=known.target if known.target.store_id else declared.target,
        consumers=tuple(sorted(consumers.values(), key=lambda each: each.id.key)),
        secrets=(*known.secrets, *(each for each in declared.secrets if each.uri not in named)),
    )


def not_found(declarations: Declarations, bindings: Iterable[KeyBinding], inventory: Inventory) -> tuple[Unread, ...]:
    """What is declared and is nowhere to be seen, by name and position: key stores, consumers, and exemptions' binding ids.

    The bindings stay watched: what cannot be seen may be unreadable rather than absent. `bindings` are all that are known.
    """
    missing: list[Unread] = []

    def say(where: str, what: str, repair: str) -> None:
        missing.append(Unread(source=f"{where}: {what}", status=404, code="NotFound", repair=repair))

    for each in declarations.bindings:
        repair = "correct the watchlist, or give the monitor Reader on its subscription"
        for host in sorted({uri.host for uri in (each.key, *each.secrets)} - inventory.stores.keys()):
            say(each.where, f"key store {host}", repair)
        owner = each.identity.resource_id if each.identity else each.consumer
        for resource in dict.fromkeys((each.consumer, owner)):
            if inventory.listed is not None and resource.key not in inventory.listed:
                say(each.where, f"consumer {resource}", repair)
    ids = {binding.id.lower() for binding in bindings}
    for exemption in declarations.exemptions:
        named = exemption.match.binding
        if named is not None and named.lower() not in ids:
            say(exemption.where, f"key binding {named}", "correct the exemption, or remove it")
    return tuple(missing)
