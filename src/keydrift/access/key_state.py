"""Keys and secrets as objects: there, enabled, within their validity, of a kind that the scenario supports.

Which version of a key counts depends on who uses it. A vault or a disk encryption set works with the version that its settings
pin, and with the current one only where they pin none (azure-facts 2.1). Azure Backup backs up the key itself, whose state is its
current version's; a version that a disk pins has to be there and enabled, since a backup holds every version.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from keydrift.access import remedies
from keydrift.access.finding import finding, unreadable
from keydrift.facts import Absent, Facts, KeyObject, Read, StoreFacts, Unread
from keydrift.key_uri import KeyUri
from keydrift.model import Evidence, Finding, KeyBinding, Scenario, StoreObject

_VAULT_CMK = frozenset({Scenario.BACKUP_VAULT_CMK, Scenario.RSV_CMK})
_SIZES = frozenset({2048, 3072, 4096})
BACKS_UP_KEY = frozenset({Scenario.ADE_KEK, Scenario.CVM_CMK})
# Key Vault's backup of a key fails beyond (general/backup.md)
MOST_VERSIONS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Horizon:
    """The time of the decision and how far ahead an expiry is reported: a key's or secret's, and a grant's."""

    now: datetime
    key_expiry: timedelta = timedelta(days=30)
    grant_expiry: timedelta = timedelta(days=14)


def judge_objects(binding: KeyBinding, facts: Facts, horizon: Horizon) -> Iterator[Finding]:
    """What is wrong with the key and the secrets of a binding, pinned versions included; each code once a key or secret."""
    for target in binding.objects:
        read = _read(facts, target.uri.versionless)
        if not _explained_by_store(facts.stores.get(target.uri.host), read):
            yield from _each_code_once(_judge_target(binding, target, read, facts, horizon))


def _judge_target(
    binding: KeyBinding, target: StoreObject, read: Read[KeyObject], facts: Facts, horizon: Horizon
) -> Iterator[Finding]:
    pinned = _pinned(binding, target)
    if not isinstance(read, KeyObject) or read.uri.version in pinned or not _only_pinned(binding, target):
        yield from _judge(binding, target, target.uri.versionless, read, horizon)
    if not isinstance(read, KeyObject):
        return
    if target == binding.target and binding.scenario in BACKS_UP_KEY:
        yield from _versions(binding, read)
    for version in pinned:
        if version != read.uri.version:
            shown = _pinned_read(facts, target, version, read)
            if isinstance(shown, KeyObject) and target.uri.kind == "keys" and binding.scenario in BACKS_UP_KEY:
                shown = replace(shown, expires=None, not_before=None)  # the backup does not ask for an old version's validity
            yield from _judge(binding, target, version_uri(target, version), shown, horizon)


def _only_pinned(binding: KeyBinding, target: StoreObject) -> bool:
    """Whether the current version's state is nobody's concern: every consumer pins versions, and the key is not backed up."""
    if target.uri.kind == "secrets" or binding.scenario in BACKS_UP_KEY:
        return False
    return bool(binding.consumers) and all(consumer.key_versions for consumer in binding.consumers)


def _each_code_once(found: Iterable[Finding]) -> Iterator[Finding]:
    """One finding a code: the first one's words, and the ids and the remedies of all. What could not be read stays apart."""
    by_code: dict[str, list[Finding]] = {}
    for each in found:
        if each.code == "facts-unreadable":
            yield each
        else:
            by_code.setdefault(each.code, []).append(each)
    for same in by_code.values():
        ids = tuple(dict.fromkeys(str(each.evidence["id"]) for each in same))
        evidence: Evidence = same[0].evidence if len(ids) == 1 else {**same[0].evidence, "ids": ids}
        remedy = "\n".join(dict.fromkeys(each.remediation for each in same))
        yield replace(same[0], evidence=evidence, remediation=remedy)


def version_uri(target: StoreObject, version: str) -> KeyUri:
    """The address of one version of the key or secret."""
    uri = target.uri
    return KeyUri(uri.host, uri.kind, uri.name, version, uri.spelled)


def _pinned(binding: KeyBinding, target: StoreObject) -> list[str]:
    if target.uri.kind == "secrets":
        return [target.uri.version] if target.uri.version else []
    return sorted({version for consumer in binding.consumers for version in consumer.key_versions})


def pinned_versions(binding: KeyBinding, target: StoreObject, current: KeyObject) -> tuple[KeyUri, ...]:
    """The versions that consumers pin and that are not the current one: each needs a read of its own."""
    if target.uri.kind == "secrets":
        return ()  # ARM shows a secret's latest version only (azure-facts 5.3)
    return tuple(version_uri(target, v) for v in _pinned(binding, target) if v != current.uri.version)


def unread_objects(binding: KeyBinding, facts: Facts) -> Iterator[tuple[str, Unread]]:
    """The reads of keys, pinned versions and secrets that a verdict needs and that failed, each with `keys` or `secrets`."""
    for target in binding.objects:
        read = _read(facts, target.uri.versionless)
        if _explained_by_store(facts.stores.get(target.uri.host), read):
            continue
        versions = pinned_versions(binding, target, read) if isinstance(read, KeyObject) else ()
        reads = (read, *(_read(facts, uri) for uri in versions))
        yield from ((target.uri.kind, each) for each in reads if isinstance(each, Unread))


def _read(facts: Facts, uri: KeyUri) -> Read[KeyObject]:
    store = facts.stores.get(uri.host)
    read = store.objects.get(uri) if store else None
    return read if read is not None else _not_read(uri)


def _explained_by_store(store: StoreFacts | None, read: Read[KeyObject]) -> bool:
    """Whether the key store's own finding says it all: a store that is not there has no keys, and a key's 404 proves nothing
    while the store itself was never seen to exist."""
    match store.store if store else None:
        case Absent():
            return not isinstance(read, KeyObject)
        case Unread():
            return isinstance(read, Absent) and store is not None and not store.watched_before
        case _:
            return False


def _not_read(uri: KeyUri) -> Unread:
    kind = "keys" if uri.kind == "keys" else "secrets"
    return Unread(source=str(uri), status=None, code="NotRead", repair=f"Microsoft.KeyVault/vaults/{kind}/read")


def _pinned_read(facts: Facts, target: StoreObject, version: str, latest: KeyObject) -> Read[KeyObject]:
    if target.uri.kind == "keys":
        return _read(facts, version_uri(target, version))
    if latest.uri.version is None:
        return latest  # the service does not say which version it showed
    return Unread(
        source=f"{version_uri(target, version)} (an older version of the secret)",
        status=None,
        code="OlderVersionNotShown",
        repair="nothing on the ARM plane shows it: encrypt the disk again, or check the version by hand",
    )


def _judge(binding: KeyBinding, target: StoreObject, uri: KeyUri, read: Read[KeyObject], horizon: Horizon) -> Iterator[Finding]:
    word = "key" if uri.kind == "keys" else "secret"
    match read:
        case Unread():
            yield unreadable(read)
        case Absent():
            what = f"version `{uri.version}` of {word} `{uri.object_name}`" if uri.version else f"{word} `{uri.object_name}`"
            remedy = remedies.recover(target)
            if uri.version:
                remedy = f"{remedies.rotate(target)}  # a lost version does not come back: point the consumer at a current one"
            summary = f"{what} does not exist in `{remedies.store_name(target)}` (deleted or purged)"
            yield finding(f"{word}-not-found", binding, summary, {"id": str(uri)}, remedy)
        case KeyObject():
            if not read.enabled:
                summary = f"{word} `{uri.object_name}` is disabled: every operation with it is refused"
                evidence: Evidence = {"id": str(read.uri), "enabled": False}
                yield finding(f"{word}-disabled", binding, summary, evidence, remedies.enable(read, word))
            yield from _validity(binding, target, read, horizon)
            if word == "key" and binding.scenario in _VAULT_CMK:
                yield from _suitability(binding, target, read)


def _versions(binding: KeyBinding, read: KeyObject) -> Iterator[Finding]:
    if read.versions is not None and read.versions > MOST_VERSIONS:
        name = read.uri.object_name
        yield finding(
            "key-versions-excessive",
            binding,
            f"key `{name}` has more than {MOST_VERSIONS} versions, beyond which Key Vault does not back it up",
            {"id": str(read.uri.versionless), "versions": read.versions},
            f"create a new key beside `{name}` and encrypt the disks with it: versions cannot be removed one by one",
        )


def _validity(binding: KeyBinding, target: StoreObject, read: KeyObject, horizon: Horizon) -> Iterator[Finding]:
    if read.expires is None and read.not_before is None:
        return
    name, now = read.uri.object_name, horizon.now
    evidence: Evidence = {
        "id": str(read.uri),
        "expires": read.expires.isoformat() if read.expires else None,
        "notBefore": read.not_before.isoformat() if read.not_before else None,
    }
    if read.uri.kind == "secrets":
        if read.expires and read.expires <= now + horizon.key_expiry:
            yield finding(
                "secret-expiring",
                binding,
                f"secret `{name}` expires at {read.expires.isoformat()}",
                evidence,
                remedies.command("az", "keyvault", "secret", "set-attributes", "--id", str(read.uri), "--expires", "NEW-DATE"),
            )
        return
    if read.expires and read.expires <= now:
        summary = f"key `{name}` expired at {read.expires.isoformat()}"
        yield finding("key-expired", binding, summary, evidence, remedies.rotate(target))
    elif read.expires and read.expires <= now + horizon.key_expiry:
        summary = f"key `{name}` expires at {read.expires.isoformat()}"
        yield finding("key-expiring", binding, summary, evidence, remedies.rotate(target))
    if read.not_before and read.not_before > now:
        summary = f"key `{name}` is not valid before {read.not_before.isoformat()}"
        yield finding(
            "key-not-yet-valid",
            binding,
            summary,
            evidence,
            remedies.command("az", "keyvault", "key", "set-attributes", "--id", str(read.uri), "--not-before", "NOW"),
        )


def _suitability(binding: KeyBinding, target: StoreObject, read: KeyObject) -> Iterator[Finding]:
    kind = (read.key_type or "").upper()
    size_known_wrong = read.key_size is not None and read.key_size not in _SIZES
    if (kind and kind not in ("RSA", "RSA-HSM")) or size_known_wrong:
        shown = f"{read.key_type} {read.key_size or ''}".strip()
        yield finding(
            "key-unsuitable",
            binding,
            f"key `{read.uri.object_name}` is {shown}; a vault needs RSA or RSA-HSM of 2048, 3072 or 4096 bits",
            {"id": str(read.uri), "keyType": read.key_type, "keySize": read.key_size},
            f"{remedies.rotate(target)}  # a key's type is fixed: create an RSA key and point the vault at it",
        )
