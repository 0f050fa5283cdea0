"""Azure on a laptop: one simulated tenant, reached by unmodified Azure SDK clients at their real host names.

The environment of the client process does it all: `HTTPS_PROXY` leads to a CONNECT proxy, the CA variables to the certificate
authority of this run, `IDENTITY_ENDPOINT` to a managed identity. Everything is loopback.
"""

from __future__ import annotations

import ssl
import tempfile
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import trustme

from keydrift_local.azure import entra, gateway
from keydrift_local.azure.event_topic import EventTopic
from keydrift_local.azure.faults import Faults
from keydrift_local.azure.hosts import DCR_HOST, SITES, Service, site_of
from keydrift_local.azure.log_analytics import LogAnalytics
from keydrift_local.azure.logs import DCR_RULE_ID
from keydrift_local.azure.messages import Answer, Call
from keydrift_local.azure.resource_graph import ResourceGraph
from keydrift_local.azure.server import Server
from keydrift_local.change_events import ChangeEvents
from keydrift_local.documents import JsonObject
from keydrift_local.event_delivery import delivered
from keydrift_local.tenant import Tenant

_SLOW = (Service.ARM, Service.GRAPH, Service.MANAGED_HSM, Service.VAULT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request that was served. Status 0: the connection was dropped. `body` is kept of questions to ARM alone."""

    method: str
    host: str
    path: str
    query: Mapping[str, str]
    status: int
    body: bytes = b""


class LocalAzure:
    """Serves a tenant. Every method may be called from any thread, before, while and after it runs."""

    def __init__(
        self,
        tenant: Tenant,
        *,
        clock: Callable[[], datetime] | None = None,
        latency_s: float = 0.0,
        page_size: int = 100,
    ) -> None:
        self.tenant = tenant
        self.requests: list[Request] = []
        self._lock = threading.RLock()
        self._latency_s = latency_s
        self._page_size = page_size
        self._faults = Faults()
        self._events = ChangeEvents()
        self._rows = ResourceGraph()
        self._set_clock(clock)
        self.logs = LogAnalytics(self._now)
        self.topic = EventTopic()
        self._secret = uuid.uuid4().hex
        self._server: Server | None = None
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._environment: dict[str, str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to listen, on free loopback ports. Raises OSError."""
        assert self._server is None, "already started"
        authority = trustme.CA()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(*(site.host for site in SITES)).configure_cert(context)
        self._directory = tempfile.TemporaryDirectory(prefix="keydrift-")
        bundle = Path(self._directory.name) / "ca.pem"
        authority.cert_pem.write_to_path(str(bundle))
        self._server = Server(
            azure=self._answer, identity=self._identify, resolves=self._resolves, latency_s=self._delay, tls=context
        )
        ports = self._server.start()
        self._environment = {
            "HTTPS_PROXY": f"http://127.0.0.1:{ports.proxy}",
            "NO_PROXY": "127.0.0.1,localhost",
            "SSL_CERT_FILE": str(bundle),
            "REQUESTS_CA_BUNDLE": str(bundle),
            "IDENTITY_ENDPOINT": f"http://127.0.0.1:{ports.identity}{entra.IDENTITY_PATH}",
            "IDENTITY_HEADER": self._secret,
            "KEYDRIFT_DCR_RULE_ID": DCR_RULE_ID,
        }

    def stop(self) -> None:
        """Stop listening and remove the certificate file. Harmless when stopped already."""
        if self._server is not None:
            self._server.stop()
            self._server = None
        if self._directory is not None:
            self._directory.cleanup()
            self._directory = None
        self._environment = None

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of a client process. Only while it runs."""
        assert self._environment is not None, "not started"
        return {**self._environment, "KEYDRIFT_DCR_ENDPOINT": f"https://{DCR_HOST[self.tenant.cloud]}"}

    def load(self, tenant: Tenant, *, clock: Callable[[], datetime] | None = None) -> None:
        """Serve another tenant from now on; faults, requests and log rows are forgotten."""
        with self._lock:
            self.tenant = tenant
            self._faults = Faults()
            self._events = ChangeEvents()
            self._rows.thaw()
            self.requests.clear()
            self._set_clock(clock)
            self.logs.clear()
            self.topic.clear()

    def change(
        self, change: Mapping[str, object], actor: Mapping[str, str] | None = None, *, silent: bool = False
    ) -> list[JsonObject]:
        """Apply a change and return the raw events that Azure would deliver for it, in order. Raises ConfigError."""
        with self._lock:
            applied = self.tenant.apply(change)
            raised = self._events.raised_by(applied, self.tenant, actor, self._clock())
            arrived = [each for event in raised for each in delivered(self.tenant, event)]
        return [] if silent else arrived

    def fault(self, fault: Mapping[str, object] | None) -> None:
        """Inject a fault: `{"match": "GET */vaults/kv1*", "status", "times"?, "headers"?, "body"?}`; None clears all.

        Status 0 drops the connection. Raises ConfigError.
        """
        with self._lock:
            self._faults.set(fault)

    def freeze_graph(self) -> None:
        """Let Resource Graph lag: its rows stay as they are now, whatever changes, until `thaw_graph` or `load`."""
        with self._lock:
            self._rows.freeze(self.tenant)

    def thaw_graph(self) -> None:
        """Let Resource Graph catch up."""
        with self._lock:
            self._rows.thaw()

    def clear_requests(self) -> None:
        """Forget the requests served so far."""
        with self._lock:
            self.requests.clear()

    def _set_clock(self, clock: Callable[[], datetime] | None) -> None:
        self._clock = clock or self.tenant.clock
        self.tenant.clock = self._clock

    def _now(self) -> datetime:
        return self._clock()

    def _answer(self, call: Call) -> Answer:
        with self._lock:
            answer = gateway.refusal(call, self.tenant, self._faults) or gateway.tenant_answer(
                call, self.tenant, self._rows, self._page_size
            )
        # Outside the lock: `on_rows` is the caller's, and may well ask for a change.
        answer = answer or gateway.sink_answer(call, self.logs, self.topic)
        self._record(call, answer)
        return answer

    def _identify(self, call: Call) -> Answer:
        with self._lock:
            answer = self._faults.answer(call, None) or entra.identity_answer(call, self.tenant, self._secret)
        self._record(call, answer)
        return answer

    def _record(self, call: Call, answer: Answer) -> None:
        site = site_of(call.host)
        served = Request(
            method=call.method,
            host=call.host,
            path=call.path,
            query=dict(call.query),
            status=answer.status,
            body=call.body if site is not None and site.service is Service.ARM else b"",
        )
        with self._lock:
            self.requests.append(served)

    def _resolves(self, host: str) -> bool:
        with self._lock:
            return gateway.resolves(self.tenant, host)

    def _delay(self, host: str) -> float:
        site = site_of(host)
        return self._latency_s if site is not None and site.service in _SLOW else 0.0
