"""The addresses of keys and secrets: what parses, what is the same key, and what only looks like one."""

from __future__ import annotations

import pytest

from keydrift.errors import DecodeError
from keydrift.key_uri import KeyUri

VERSION = "ee059b2bb5bc48398a53b168c6cdcb10"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://kv1.vault.azure.net/keys/k1", KeyUri("kv1.vault.azure.net", "keys", "k1")),
        ("https://kv1.vault.azure.net/secrets/s1", KeyUri("kv1.vault.azure.net", "secrets", "s1")),
        (f"https://kv1.vault.azure.net/keys/k1/{VERSION}", KeyUri("kv1.vault.azure.net", "keys", "k1", VERSION)),
        ("https://kv1.vault.azure.net/keys/k1/", KeyUri("kv1.vault.azure.net", "keys", "k1")),
        ("https://kv1.vault.azure.net//keys//k1", KeyUri("kv1.vault.azure.net", "keys", "k1")),
        ("  https://kv1.vault.azure.net/keys/k1\n", KeyUri("kv1.vault.azure.net", "keys", "k1")),
        ("HTTPS://KV1.Vault.Azure.NET/Keys/K1", KeyUri("kv1.vault.azure.net", "keys", "k1")),
        ("https://kv1.vault.azure.net:443/keys/k1", KeyUri("kv1.vault.azure.net", "keys", "k1")),
        ("https://kv1.vault.azure.net/keys/k1?api-version=7.4", KeyUri("kv1.vault.azure.net", "keys", "k1")),
        ("https://kv1.vault.azure.net/keys/keys", KeyUri("kv1.vault.azure.net", "keys", "keys")),
        ("https://hsm1.managedhsm.azure.net/keys/k1", KeyUri("hsm1.managedhsm.azure.net", "keys", "k1")),
        ("https://kv1.vault.azure.cn/keys/k1", KeyUri("kv1.vault.azure.cn", "keys", "k1")),
    ],
)
def test_addresses_of_keys_and_secrets_parse(text: str, expected: KeyUri) -> None:
    """Host, kind, name and version are read whatever the letter case and however many slashes."""
    assert KeyUri.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "k1",
        "/keys/k1",
        "kv1.vault.azure.net/keys/k1",
        "http://kv1.vault.azure.net/keys/k1",
        "ftp://kv1.vault.azure.net/keys/k1",
        "https:///keys/k1",
        "https://kv1/keys/k1",
        "https://kv1.vault.azure.net",
        "https://kv1.vault.azure.net/keys",
        "https://kv1.vault.azure.net/keys/",
        f"https://kv1.vault.azure.net/keys/k1/{VERSION}/sign",
        "https://kv1.vault.azure.net/certificates/c1",
        "https://kv1.vault.azure.net/keysx/k1",
        "https://kv1.vault.azure.net/key/k1",
        "https://[kv1.vault.azure.net/keys/k1",
        "https://kv1.vault.azure.net:8443/keys/k1",
        "https://kv1.vault.azure.net@evil.example/keys/k1",
        "https://evil.example@kv1.vault.azure.net/keys/k1",
        "https://kv1.vault.azure.net\\@evil.example/keys/k1",
        "https://evil.example/kv1.vault.azure.net/keys/k1",
        "https://kv1_vault.azure.net/keys/k1",
        "https://-kv1.vault.azure.net/keys/k1",
        "https://kv1..vault.azure.net/keys/k1",
        "https://k\u0443.vault.azure.net/keys/k1",
        f"https://{'k' * 64}.vault.azure.net/keys/k1",
        f"https://{'k.' * 130}net/keys/k1",
        "https://kv1.vault.azure.net/keys/..",
        "https://kv1.vault.azure.net/keys/%2e%2e",
        "https://kv1.vault.azure.net/keys/k1%2fx",
        "https://kv1.vault.azure.net/keys/k1/../k2",
        "https://kv1.vault.azure.net/keys/k_1",
        "https://kv1.vault.azure.net/keys/k1 x",
        "https://kv1.vault.azure.net/keys/k\t1",
        "https://kv1.vault.azure.net/keys/k\n1",
        "https://kv1.vault.azure.net/keys/k1\x00",
        "https://kv1.vault.azure.net/keys/k\u202e1",
        "https://kv1.vault.azure.net/keys/\ud800",
        f"https://kv1.vault.azure.net/keys/{'k' * 128}",
        f"https://kv1.vault.azure.net/keys/k1?{'x' * 2_000}",
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.KeyVault/vaults/kv1/keys/k1",
    ],
)
def test_what_is_no_address_of_a_key_is_refused(text: str) -> None:
    """A certificate, an ARM id, plain HTTP or too few or too many parts is never taken for a key."""
    with pytest.raises(DecodeError) as caught:
        KeyUri.parse(text)
    assert caught.value.path == "$"


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ("https://KV1.vault.azure.net/KEYS/K1", True),
        ("https://kv1.vault.azure.net/keys/k1/", True),
        ("https://kv1.vault.azure.net/keys/k10", False),
        ("https://kv10.vault.azure.net/keys/k1", False),
        ("https://kv1.vault.azure.net/secrets/k1", False),
        ("https://kv1.vault.azure.cn/keys/k1", False),
        ("https://kv1.managedhsm.azure.net/keys/k1", False),
        (f"https://kv1.vault.azure.net/keys/k1/{VERSION}", False),
    ],
)
def test_which_addresses_name_the_same_key(other: str, same: bool) -> None:
    """Letter case does not tell keys apart; host, kind, name and version do."""
    one = KeyUri.parse("https://kv1.vault.azure.net/keys/k1")
    assert (KeyUri.parse(other) == one) is same
    assert (hash(KeyUri.parse(other)) == hash(one)) is same


def test_versions_of_a_key_share_the_versionless_address() -> None:
    """A key binding is unique by the key without its version, spelled as it was read."""
    first = KeyUri.parse(f"https://kv1.vault.azure.net/keys/MyKey/{VERSION.upper()}")
    second = KeyUri.parse("https://kv1.vault.azure.net/keys/mykey/other")
    assert first != second
    assert first.versionless == second.versionless
    assert first.versionless.version is None
    assert first.version == VERSION


def test_an_address_is_shown_with_the_name_as_it_was_spelled() -> None:
    """Commands show the key's own letter case; what is shown parses to the same key."""
    shown = str(KeyUri.parse(f"https://KV1.vault.azure.net/Keys/MyKey/{VERSION}"))
    assert shown == f"https://kv1.vault.azure.net/keys/MyKey/{VERSION}"
    assert KeyUri.parse(shown) == KeyUri.parse(shown.upper().replace("HTTPS", "https"))
    assert str(KeyUri("kv1.vault.azure.net", "keys", "k1")) == "https://kv1.vault.azure.net/keys/k1"


@pytest.mark.parametrize(
    ("host", "managed"),
    [
        ("hsm1.managedhsm.azure.net", True),
        ("hsm1.managedhsm.azure.cn", True),
        ("hsm1.managedhsm.usgovcloudapi.net", True),
        ("kv1.vault.azure.net", False),
        ("managedhsm.vault.azure.net", False),
        ("kv1.managedhsmx.azure.net", False),
        ("kv1.vault.managedhsm.net", False),
    ],
)
def test_managed_hsms_are_told_by_their_host(host: str, managed: bool) -> None:
    """The second label says whether a host is a Managed HSM, in every cloud; a vault named like one is none."""
    address = KeyUri.parse(f"https://{host}/keys/k1")
    assert address.is_managed_hsm is managed
    assert address.store_name == host.split(".", maxsplit=1)[0]
