"""Azure resource ids: parse, normalise, contain. Segment by segment, never by string prefix.

Azure's ids compare case-insensitively (the same id comes back as `resourceGroups` and `resourcegroups`), so equality and
hashing here use the lower-case form while `str()` keeps the spelling that was read, for display and for commands. An id that
goes into a URL goes there as `url_path`: whoever chose it chose no other path.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import quote

from keydrift.errors import DecodeError, one_line

ROLE_ASSIGNMENT = "microsoft.authorization/roleassignments"
ROLE_DEFINITION = "microsoft.authorization/roledefinitions"
DENY_ASSIGNMENT = "microsoft.authorization/denyassignments"
MANAGEMENT_GROUP = "microsoft.management/managementgroups"

# Far beyond Azure's longest: names of at most 260 characters, a handful of them nested
MOST_CHARS = 4_096
# What no name of Azure's holds and some reader of a path or of a line would misread: a query, a fragment, another separator,
# control characters, marks that turn the writing direction, halves of surrogate pairs
_NEVER = re.compile("[?#\\\\\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# RFC 3986, 3.3: what a segment of a path may hold as it stands
_PLAIN_IN_A_SEGMENT = "!$&'()*+,;=:@"


@dataclass(frozen=True, slots=True)
class ResourceId:
    """An ARM id such as `/subscriptions/…/resourceGroups/…/providers/Microsoft.KeyVault/vaults/kv1`, or the root `/`."""

    text: str = field(compare=False)
    segments: tuple[str, ...] = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> ResourceId:
        """Parse an id; leading, trailing and doubled slashes and blanks around names are forgiven.

        Raises DecodeError where the text is no ARM path (an URL, an empty string), or holds what no id does: `..` as a segment,
        a query, a backslash, control characters.
        """
        cleaned = text.strip()
        if not cleaned.startswith("/") or len(cleaned) > MOST_CHARS or _NEVER.search(cleaned):
            raise DecodeError("$", f"expected an ARM resource id that starts with `/`, got {shown(text)}")
        # No name of Azure's begins or ends with a blank; kept, it would be lost where the id is read again
        parts = [part for each in cleaned.split("/") if (part := each.strip())]
        if "." in parts or ".." in parts:
            raise DecodeError("$", f"expected an ARM resource id without `.` or `..` as a segment, got {shown(text)}")
        return cls("/" + "/".join(parts), tuple(part.lower() for part in parts))

    def __str__(self) -> str:
        return self.text

    @property
    def key(self) -> str:
        """The normalised spelling: lower case, no trailing slash. What records and look-ups are keyed by."""
        return "/" + "/".join(self.segments)

    @property
    def url_path(self) -> str:
        """The id as the path of a URL, each segment encoded by itself: a `%2f` in a name is no slash there."""
        return "/" + "/".join(segment(part) for part in self.parts)

    def contains(self, other: ResourceId) -> bool:
        """Whether `other` is this id or lies below it in the path: `rg1` never contains `rg10`.

        The root contains everything. A management group contains nothing by its path: ancestry is not in an id.
        """
        return other.segments[: len(self.segments)] == self.segments

    @property
    def parts(self) -> tuple[str, ...]:
        """The segments as they were spelled."""
        return tuple(part for part in self.text.split("/") if part)

    @property
    def name(self) -> str:
        """The last segment as spelled; empty for the root."""
        return self.text.rpartition("/")[2]

    @property
    def subscription_id(self) -> str | None:
        """The subscription, lower case; None at the root and at management groups."""
        return self._after("subscriptions", at=0)

    @property
    def resource_group(self) -> str | None:
        """The resource group as it was spelled; None above a resource group."""
        if len(self.segments) >= 4 and self.segments[0] == "subscriptions" and self.segments[2] == "resourcegroups":
            return self.parts[3]
        return None

    @property
    def is_management_group(self) -> bool:
        """Whether this is a management group itself (not something below one)."""
        return self.segments[:3] == ("providers", *MANAGEMENT_GROUP.split("/")) and len(self.segments) == 4

    @property
    def resource_type(self) -> str:
        """The full type, lower case: `microsoft.keyvault/vaults/keys`; empty where there is no provider."""
        provider = self._last_provider()
        if provider is None:
            return ""
        namespace, *rest = self.segments[provider + 1 :] or ("",)
        return "/".join((namespace, *rest[::2]))

    def up_to(self, resource_type: str) -> ResourceId | None:
        """The id cut after the first resource of that (lower case) type in it; None where it holds none."""
        namespace, *types = resource_type.split("/")
        for index, segment in enumerate(self.segments):
            if segment != "providers" or self.segments[index + 1 : index + 2] != (namespace,):
                continue
            end = index + 2 + 2 * len(types)
            if len(self.segments) >= end and self.segments[index + 2 : end : 2] == tuple(types):
                return ResourceId("/" + "/".join(self.parts[:end]), self.segments[:end])
        return None

    def extension_scope(self, extension_type: str) -> ResourceId | None:
        """What an extension resource (a role assignment, say) stands on: the id before its *last* provider part.

        A key-scope assignment's id names two providers, hence the last one (azure-facts 3.4). None for other types.
        """
        provider = self._last_provider()
        if provider is None or "/".join(self.segments[provider + 1 : provider + 3]) != extension_type:
            return None
        return ResourceId("/" + "/".join(self.parts[:provider]), self.segments[:provider])

    def child(self, *parts: str) -> ResourceId:
        """The id with more segments."""
        below = ResourceId.parse("/" + "/".join(parts))
        return ResourceId(self.text.rstrip("/") + below.text, self.segments + below.segments)

    def _after(self, word: str, at: int) -> str | None:
        return self.segments[at + 1] if len(self.segments) > at + 1 and self.segments[at] == word else None

    def _last_provider(self) -> int | None:
        # A resource may be *named* `providers`: a provider segment is followed by a namespace and a type
        names = (i for i, segment in enumerate(self.segments) if segment == "providers" and i + 2 < len(self.segments))
        return max((i for i in names if "." in self.segments[i + 1]), default=None)


def segment(text: str) -> str:
    """A name as one segment of a URL's path, which it can neither leave nor end.

    A client drops a segment that is empty and climbs at `.` and `..`, encoded or not: those are asked for by a name that is
    nobody's.
    """
    if text.strip(".") == "" and len(text) < 3:
        return "%20" + text.replace(".", "%252E")
    return quote(text, safe=_PLAIN_IN_A_SEGMENT, errors="replace")


def shown(text: str) -> str:
    """The beginning of what somebody else wrote, fit for one line."""
    return f"`{one_line(text[:120])}`"
