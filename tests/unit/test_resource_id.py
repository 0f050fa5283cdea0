"""ARM ids: what parses, what contains what, and which resource an id names; the near-misses are the point."""

from __future__ import annotations

import pytest

from keydrift.errors import DecodeError
from keydrift.resource_id import DENY_ASSIGNMENT, ROLE_ASSIGNMENT, ResourceId, segment, shown

SUB = "/subscriptions/00000000-0000-0000-0000-000000000001"
GROUP = f"{SUB}/resourceGroups/rg1"
VAULT = f"{GROUP}/providers/Microsoft.KeyVault/vaults/kv1"
KEY = f"{VAULT}/keys/k1"
MANAGEMENT_GROUP = "/providers/Microsoft.Management/managementGroups/mg1"
GUID = "11111111-1111-1111-1111-111111111111"
ASSIGNED = f"/providers/Microsoft.Authorization/roleAssignments/{GUID}"


def rid(text: str) -> ResourceId:
    return ResourceId.parse(text)


@pytest.mark.parametrize(
    ("outer", "inner", "expected"),
    [
        (GROUP, GROUP, True),
        (GROUP, VAULT, True),
        (SUB, VAULT, True),
        ("/", VAULT, True),
        ("/", "/", True),
        ("/", MANAGEMENT_GROUP, True),
        (VAULT, KEY, True),
        (KEY, f"{KEY}{ASSIGNED}", True),
        (VAULT, f"{VAULT}{ASSIGNED}", True),
        (GROUP + "/", VAULT, True),
        (GROUP, VAULT + "/", True),
        (GROUP.replace("/", "//"), VAULT, True),
        (GROUP.upper(), VAULT, True),
        (GROUP, VAULT.lower(), True),
        (GROUP, f"{SUB}/resourcegroups/RG1/providers/x", True),
        (GROUP, f"{SUB}/resourceGroups/rg10", False),
        (GROUP, f"{SUB}/resourceGroups/rg10/providers/Microsoft.KeyVault/vaults/kv1", False),
        (f"{SUB}/resourceGroups/rg10", GROUP, False),
        (GROUP, f"{SUB}/resourceGroups/xrg1", False),
        (VAULT, f"{GROUP}/providers/Microsoft.KeyVault/vaults/kv10", False),
        (f"{GROUP}/providers/Microsoft.KeyVault/vaults/a", f"{GROUP}/providers/Microsoft.KeyVault/vaults/ab", False),
        (VAULT, f"{GROUP}/providers/Microsoft.KeyVault/vaultsX/kv1", False),
        (VAULT, f"{GROUP}/providers/Microsoft.KeyVaultX/vaults/kv1", False),
        (KEY, f"{VAULT}/keys/k10", False),
        (KEY, f"{VAULT}/secrets/k1", False),
        (KEY, VAULT, False),
        (VAULT, GROUP, False),
        (GROUP, SUB, False),
        (SUB, "/", False),
        (SUB, f"{SUB}0", False),
        (VAULT, f"{SUB}/resourceGroups/rg2/providers/Microsoft.KeyVault/vaults/kv1", False),
        (MANAGEMENT_GROUP, SUB, False),  # ancestry is not in an id
        (MANAGEMENT_GROUP, VAULT, False),
        (MANAGEMENT_GROUP, f"{MANAGEMENT_GROUP}0", False),
        (MANAGEMENT_GROUP, f"{MANAGEMENT_GROUP}{ASSIGNED}", True),
    ],
)
def test_containment_is_by_segment(outer: str, inner: str, expected: bool) -> None:
    """An id contains itself and what lies below it, in any spelling, and never a neighbour whose name begins alike."""
    assert rid(outer).contains(rid(inner)) is expected


@pytest.mark.parametrize(
    "spelled",
    [VAULT, VAULT.upper(), VAULT.lower(), VAULT + "/", VAULT + "//", f"  {VAULT}\n", VAULT.replace("/", "//"), f"//{VAULT[1:]}"],
)
def test_spellings_of_one_id_are_one(spelled: str) -> None:
    """Letter case, blanks and superfluous slashes make no other id; the key is the same for all."""
    assert rid(spelled) == rid(VAULT)
    assert hash(rid(spelled)) == hash(rid(VAULT))
    assert rid(spelled).key == VAULT.lower()


@pytest.mark.parametrize(
    "other", [VAULT + "0", VAULT + "/keys", GROUP, VAULT.replace("rg1", "rg2"), VAULT.replace("kv1", "kv 1")]
)
def test_other_ids_differ(other: str) -> None:
    """A near-miss is another id."""
    assert rid(other) != rid(VAULT)


def test_an_id_is_shown_as_it_was_spelled() -> None:
    """Commands and tables show the letter case that was read, without superfluous slashes."""
    assert str(rid(f" {VAULT.upper()}// ")) == VAULT.upper()
    assert rid(VAULT).parts[3] == "rg1"
    assert rid(VAULT.replace("kv1", "KV1")).name == "KV1"


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "kv1",
        "subscriptions/x",
        "https://kv1.vault.azure.net/keys/k1",
        f"{VAULT}?api-version=2022-07-01",
        f"{VAULT}#top",
        f"{VAULT}/../kv2",
        f"{VAULT}/./keys/k1",
        "/..",
        f"{VAULT}\\keys\\k1",
        f"{VAULT}\x00",
        f"{GROUP}\r\nHost: evil.example/providers/Microsoft.KeyVault/vaults/kv1",
        f"{VAULT}\x85x",
        f"{VAULT}\u202egnp.exe",
        f"{VAULT}\ud800",
        f"/{'x' * 5_000}",
    ],
)
def test_what_is_no_arm_id_is_refused(text: str) -> None:
    """An address, a relative path or an empty string is never taken for an id."""
    with pytest.raises(DecodeError) as caught:
        rid(text)
    assert caught.value.path == "$"


@pytest.mark.parametrize(
    ("text", "subscription", "group", "resource_type"),
    [
        ("/", None, None, ""),
        (SUB, SUB.rpartition("/")[2], None, ""),
        (SUB.upper(), SUB.rpartition("/")[2], None, ""),
        (f"{SUB}/providers/Microsoft.KeyVault/locations/eastus/deletedVaults/kv1", SUB.rpartition("/")[2], None,
         "microsoft.keyvault/locations/deletedvaults"),
        (GROUP, SUB.rpartition("/")[2], "rg1", ""),
        (f"{SUB}/RESOURCEGROUPS/RG1", SUB.rpartition("/")[2], "RG1", ""),
        (VAULT, SUB.rpartition("/")[2], "rg1", "microsoft.keyvault/vaults"),
        (KEY, SUB.rpartition("/")[2], "rg1", "microsoft.keyvault/vaults/keys"),
        (f"{KEY}{ASSIGNED}", SUB.rpartition("/")[2], "rg1", ROLE_ASSIGNMENT),
        (ASSIGNED, None, None, ROLE_ASSIGNMENT),
        (MANAGEMENT_GROUP, None, None, "microsoft.management/managementgroups"),
        ("/providers/x/subscriptions/y", None, None, ""),
        (f"{SUB}/resourceGroups/providers", SUB.rpartition("/")[2], "providers", ""),
        (f"{SUB}/resourceGroups/providers/providers/Microsoft.KeyVault/vaults/kv1", SUB.rpartition("/")[2], "providers",
         "microsoft.keyvault/vaults"),
    ],
)  # fmt: skip
def test_the_parts_of_an_id(text: str, subscription: str | None, group: str | None, resource_type: str) -> None:
    """Subscription, resource group and type are read by position, each None or empty where an id has none."""
    assert (rid(text).subscription_id, rid(text).resource_group, rid(text).resource_type) == (subscription, group, resource_type)


@pytest.mark.parametrize(
    ("text", "scope"),
    [
        (f"{SUB}{ASSIGNED}", SUB),
        (f"{GROUP}{ASSIGNED}", GROUP),
        (f"{VAULT}{ASSIGNED}", VAULT),
        (f"{KEY}{ASSIGNED}", KEY),  # two providers before it: the last one counts
        (f"{VAULT}{ASSIGNED.upper()}/", VAULT),
        (f"{MANAGEMENT_GROUP}{ASSIGNED}", MANAGEMENT_GROUP),
        (ASSIGNED, "/"),
        (f"{SUB}{ASSIGNED}/providers/Microsoft.Insights/diagnosticSettings/x", None),
        (VAULT, None),
        (GROUP, None),
        (f"{VAULT}/providers/Microsoft.Authorization/roleAssignmentsX/{GUID}", None),
        (f"{VAULT}/providers/Microsoft.Authorization/denyAssignments/{GUID}", None),
    ],
)
def test_what_a_role_assignment_stands_on(text: str, scope: str | None) -> None:
    """A role assignment's scope is what stands before its last provider part, up to the root; other ids have none."""
    assert rid(text).extension_scope(ROLE_ASSIGNMENT) == (None if scope is None else rid(scope))


def test_what_a_deny_assignment_stands_on() -> None:
    """The same rule serves the other extension resources."""
    assert rid(f"{VAULT}/providers/{DENY_ASSIGNMENT}/{GUID}").extension_scope(DENY_ASSIGNMENT) == rid(VAULT)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (VAULT, VAULT),
        (KEY, VAULT),
        (f"{KEY}{ASSIGNED}", VAULT),
        (VAULT.upper(), VAULT),
        (GROUP, None),
        ("/", None),
        (f"{GROUP}/providers/Microsoft.KeyVault/vaults", None),
        (f"{GROUP}/providers/Microsoft.KeyVault/vaultsX/kv1", None),
        (f"{GROUP}/providers/Microsoft.RecoveryServices/vaults/kv1", None),
        (f"{SUB}/resourceGroups/providers/providers/Microsoft.KeyVault/vaults/kv1",
         f"{SUB}/resourceGroups/providers/providers/Microsoft.KeyVault/vaults/kv1"),
    ],
)  # fmt: skip
def test_an_id_is_cut_after_its_vault(text: str, expected: str | None) -> None:
    """`up_to` finds the vault in whatever lies below it, and none where there is none."""
    assert rid(text).up_to("microsoft.keyvault/vaults") == (None if expected is None else rid(expected))


def test_an_id_is_cut_after_a_nested_type() -> None:
    """A type of two levels wants both names."""
    assert rid(f"{KEY}/versions/v1").up_to("microsoft.keyvault/vaults/keys") == rid(KEY)
    assert rid(VAULT).up_to("microsoft.keyvault/vaults/keys") is None
    assert rid(f"{VAULT}/secrets/k1").up_to("microsoft.keyvault/vaults/keys") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (MANAGEMENT_GROUP, True),
        (MANAGEMENT_GROUP.upper() + "/", True),
        (f"{MANAGEMENT_GROUP}{ASSIGNED}", False),
        ("/providers/Microsoft.Management/managementGroups", False),
        ("/providers/Microsoft.Management/managementGroupsX/mg1", False),
        (SUB, False),
        ("/", False),
    ],
)
def test_management_groups_are_told_apart(text: str, expected: bool) -> None:
    """Only the management group itself counts, nothing on it or above it."""
    assert rid(text).is_management_group is expected


def test_children_are_appended() -> None:
    """A child lies below its parent, also at the root and after a trailing slash."""
    assert rid(VAULT + "/").child("keys", "k1") == rid(KEY)
    assert rid("/").child("providers", "x") == rid("/providers/x")
    with pytest.raises(DecodeError):
        rid(VAULT).child("keys", "k1?x")


@pytest.mark.parametrize(
    "name", ["kv..1", "...", "k\u00fcche", "kv 1", "a%2fb", "VM;iaasvmcontainerv2;rg1;vm1", "rg(1)_x.y", "a@b:c"]
)
def test_names_that_azure_allows_parse(name: str) -> None:
    """What some kind of resource may be called is an id: refusing it would blind the monitor to that resource."""
    assert rid(f"{GROUP}/providers/x.y/z/{name}").name == name


@pytest.mark.parametrize(
    ("name", "encoded"),
    [
        ("kv1", "kv1"),
        ("KV1", "KV1"),
        ("a%2fb", "a%252fb"),
        ("%2e%2e", "%252e%252e"),
        ("a b", "a%20b"),
        ("k\u00fc", "k%C3%BC"),
        ("a@b", "a@b"),
        ("VM;rg1;vm1", "VM;rg1;vm1"),
        ("rg(1)", "rg(1)"),
        ("{0}", "%7B0%7D"),
        ("...", "..."),
    ],
)
def test_an_id_in_an_address_is_encoded_by_segment(name: str, encoded: str) -> None:
    """A URL's path is made of the id's segments, each of which stays one; what is encoded in a name is not decoded."""
    assert rid(f"{GROUP}/providers/x.y/z/{name}").url_path == f"{GROUP}/providers/x.y/z/{encoded}"
    assert segment(name) == encoded


@pytest.mark.parametrize(
    ("name", "encoded"),
    [("", "%20"), (".", "%20%252E"), ("..", "%20%252E%252E"), ("a/b?c#d", "a%2Fb%3Fc%23d"), ("\ud800", "%3F")],
)
def test_a_name_alone_neither_leaves_its_segment_nor_climbs(name: str, encoded: str) -> None:
    """A name that is no id's, a principal's say, is encoded whatever it holds."""
    assert segment(name) == encoded


@pytest.mark.parametrize(
    ("text", "shows"), [("a\nb", r"`a\nb`"), ("\u202ex", r"`\u202ex`"), ("k\u00fc?", "`k\u00fc?`"), ("x" * 500, f"`{'x' * 120}`")]
)
def test_what_somebody_wrote_is_shown_on_one_line(text: str, shows: str) -> None:
    """An error's text shows the beginning of what was refused, with nothing in it that a terminal or a log would act on."""
    assert shown(text) == shows
