"""Faults a scenario injects, and the error bodies that each service sends with a status."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from keydrift.errors import ConfigError
from keydrift_local.azure.hosts import Service
from keydrift_local.azure.messages import Answer, Call, error

_MEMBERS = ("match", "status", "times", "headers", "body")

_ARM_CODES = {
    400: ("BadRequest", "The request is invalid."),
    401: ("ExpiredAuthenticationToken", "The access token expiry UTC time is earlier than current UTC time."),
    403: (
        "AuthorizationFailed",
        "The client '{oid}' with object id '{oid}' does not have authorization to perform action 'read' over scope '{path}' "
        "or the scope is invalid. If access was recently granted, please refresh your credentials.",
    ),
    404: ("ResourceNotFound", "The Resource '{path}' was not found."),
    409: ("Conflict", "Another operation is in progress."),
    429: ("TooManyRequests", "The request is being throttled."),
    500: ("InternalServerError", "Encountered internal server error."),
    502: ("BadGateway", "The gateway did not receive a response in time."),
    503: ("ServiceUnavailable", "The service is temporarily unavailable."),
    504: ("GatewayTimeout", "The gateway did not receive a response from the resource provider in time."),
}
_CODES: dict[Service, dict[int, tuple[str, str]]] = {
    Service.GRAPH: {
        403: ("Authorization_RequestDenied", "Insufficient privileges to complete the operation."),
        404: ("Request_ResourceNotFound", "Resource '{path}' does not exist."),
        429: ("TooManyRequests", "Too many requests."),
        503: ("serviceNotAvailable", "The service is unavailable."),
    },
    Service.MANAGED_HSM: {
        403: ("Forbidden", "User '{oid}' is not authorized to perform the operation on '{path}'."),
        404: ("KeyNotFound", "Key not found: {path}"),
        429: ("Throttled", "Request was not processed because too many requests were received."),
    },
    Service.LOGS_INGESTION: {
        403: (
            "OperationFailed",
            "The authentication token provided does not have access to ingest data for the data collection rule.",
        ),
        413: ("ContentLengthLimitExceeded", "Maximum allowed content length: 1048576 bytes."),
        429: ("TooManyRequests", "The limit of requests per minute for the data collection rule is exceeded."),
    },
    Service.LOGS_QUERY: {
        403: ("InsufficientAccessError", "The provided credentials have insufficient access to perform the requested operation"),
        429: ("ThrottledError", "The request was throttled."),
    },
}
_CODES[Service.VAULT] = _CODES[Service.MANAGED_HSM]


@dataclass(slots=True)
class Fault:
    """One injected fault; `left` counts down the requests it still answers (None: all)."""

    pattern: re.Pattern[str]
    status: int
    left: int | None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: object = None

    @classmethod
    def parse(cls, fault: Mapping[str, object]) -> Fault:
        """A scenario's fault. Raises ConfigError with the member that is wrong."""
        unknown = sorted(set(fault) - set(_MEMBERS))
        if unknown:
            raise ConfigError(f"fault.{unknown[0]}: expected only {', '.join(_MEMBERS)}")
        match, status, times = fault.get("match"), fault.get("status"), fault.get("times")
        if not isinstance(match, str) or len(match.split(maxsplit=1)) != 2:
            raise ConfigError("fault.match: expected `METHOD URL`, such as `GET */vaults/kv1*`")
        if not isinstance(status, int) or isinstance(status, bool) or not (status == 0 or 200 <= status <= 599):
            raise ConfigError("fault.status: expected an HTTP status, or 0 to drop the connection")
        if times is not None and (not isinstance(times, int) or isinstance(times, bool) or times < 1):
            raise ConfigError("fault.times: expected a whole number of at least 1")
        headers = fault.get("headers", {})
        if not isinstance(headers, Mapping) or not all(isinstance(each, (str, int)) for each in headers.values()):
            raise ConfigError("fault.headers: expected an object of strings")
        expression = ".*".join(re.escape(piece) for piece in " ".join(match.split(maxsplit=1)).split("*"))
        return cls(
            re.compile(expression, re.IGNORECASE | re.DOTALL),
            status,
            times,
            {str(name): str(value) for name, value in headers.items()},
            fault.get("body"),
        )


class Faults:
    """The faults in force, in the order in which they came; the first that matches answers."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    @property
    def active(self) -> bool:
        """Whether any is in force."""
        return bool(self._faults)

    def set(self, fault: Mapping[str, object] | None) -> None:
        """Add a fault, or clear all. Raises ConfigError."""
        if fault is None:
            self._faults.clear()
        else:
            self._faults.append(Fault.parse(fault))

    def answer(self, call: Call, service: Service | None) -> Answer | None:
        """What a fault answers to this request, counted; None where none matches."""
        subject = f"{call.method} https://{call.host}{call.path}"
        for fault in self._faults:
            if fault.pattern.fullmatch(subject):
                if fault.left is not None:
                    fault.left -= 1
                    if not fault.left:
                        self._faults.remove(fault)
                return _answer(fault, call, service)
        return None


def _answer(fault: Fault, call: Call, service: Service | None) -> Answer:
    if fault.body is not None or fault.status < 400:
        return Answer(status=fault.status, body=fault.body, headers=fault.headers)
    codes = _ARM_CODES | _CODES.get(service or Service.ARM, {})
    code, message = codes.get(fault.status, ("Error", "The request failed."))
    oid = str((call.claims or {}).get("oid", ""))
    return error(fault.status, code, message.replace("{oid}", oid).replace("{path}", call.path), headers=fault.headers)
