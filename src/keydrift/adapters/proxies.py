"""The proxies that the environment names (`HTTPS_PROXY`, `NO_PROXY`), looked up once for each host.

aiohttp's own `trust_env` looks them up anew for every request, and a `.netrc` file with them, each on a thread: a third of the
CPU of a large scan. Nobody's password for a host belongs in a request that carries a token, so `.netrc` is not read at all.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from aiohttp import encode_basic_auth


class EnvironmentProxies:
    """Answers which proxy a request goes through. The environment is read when a host is first asked for."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], dict[str, Any]] = {}

    def options(self, url: str) -> dict[str, Any]:
        """What aiohttp's `request` has to be given for that URL: `proxy`, and `proxy_headers` where it asks for a password."""
        parts = urlsplit(url)
        scheme, host = parts.scheme.lower(), (parts.hostname or "").lower()
        if (scheme, host) not in self._known:
            self._known[scheme, host] = _options(scheme, host)
        return self._known[scheme, host]


def _options(scheme: str, host: str) -> dict[str, Any]:
    proxy = getproxies().get(scheme)
    if not proxy or proxy_bypass(host):
        return {}
    address = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    plain = address._replace(netloc=address.netloc.rpartition("@")[2]).geturl()
    if address.username is None:
        return {"proxy": plain}
    password = encode_basic_auth(unquote(address.username), unquote(address.password or ""))
    return {"proxy": plain, "proxy_headers": {"Proxy-Authorization": password}}
