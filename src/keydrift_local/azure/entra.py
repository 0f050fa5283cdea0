"""Microsoft Entra's token endpoints and the managed identity endpoint of App Service. Tokens are unsigned and honest about it."""

from __future__ import annotations

import base64
import json
import time
from urllib.parse import parse_qs

from keydrift_local.azure.messages import Answer, Call
from keydrift_local.documents import JsonObject
from keydrift_local.tenant import Tenant

IDENTITY_PATH = "/msi/token"
MONITOR_OBJECT_ID = "6d6f6e69-746f-4d72-8000-6b6579647269"
MONITOR_APP_ID = "6d6f6e69-746f-4d72-8000-6b6579647270"
_LIFETIME_S = 86_399


def token(tenant: Tenant, audience: str) -> str:
    """An unsigned access token for an audience, for the monitor's identity."""
    now = int(time.time())
    claims: JsonObject = {
        "aud": audience,
        "iss": f"https://sts.windows.net/{tenant.tenant_id}/",
        "tid": tenant.tenant_id,
        "oid": MONITOR_OBJECT_ID,
        "appid": MONITOR_APP_ID,
        "iat": now,
        "nbf": now,
        "exp": now + _LIFETIME_S,
    }
    return f"{_encode({'alg': 'none', 'typ': 'JWT'})}.{_encode(claims)}."


def identity_answer(call: Call, tenant: Tenant, secret: str) -> Answer:
    """App Service's managed identity endpoint: `?resource=…` with the `X-IDENTITY-HEADER` of the environment."""
    if call.path != IDENTITY_PATH:
        return Answer(status=404, body={"statusCode": 404, "message": "not found"})
    if call.headers.get("x-identity-header") != secret:
        return Answer(status=401, body={"statusCode": 401, "message": "Unauthorized"})
    resource = call.options.get("resource")
    if not resource:
        return Answer(status=400, body={"statusCode": 400, "message": "resource is required"})
    body: JsonObject = {
        "access_token": token(tenant, resource),
        "expires_on": str(int(time.time()) + _LIFETIME_S),
        "resource": resource,
        "token_type": "Bearer",
        "client_id": call.options.get("client_id", MONITOR_APP_ID),
    }
    return Answer(body=body)


def answer(call: Call, tenant: Tenant) -> Answer:
    """Instance discovery, OpenID configuration and the v2.0 token endpoint (client credentials)."""
    base = f"https://{call.host}/{call.parts[0] if call.parts else ''}"
    if call.segments == ("common", "discovery", "instance"):
        return Answer(body=_instance(call.host, tenant))
    if call.segments[1:] == ("v2.0", ".well-known", "openid-configuration"):
        configuration: JsonObject = {
            "token_endpoint": f"{base}/oauth2/v2.0/token",
            "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
            "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
            "issuer": f"{base}/v2.0",
        }
        return Answer(body=configuration)
    if call.method != "POST" or call.segments[1:] != ("oauth2", "v2.0", "token"):
        return Answer(status=404, body={"error": "invalid_request", "error_description": "AADSTS900144: not simulated"})
    form = parse_qs(call.body.decode())
    scope = form.get("scope", [""])[0].split(" ")[0]
    if form.get("grant_type") != ["client_credentials"] or not scope.endswith("/.default"):
        return Answer(status=400, body={"error": "invalid_scope", "error_description": "AADSTS1002012: expected …/.default"})
    granted: JsonObject = {
        "token_type": "Bearer",
        "expires_in": _LIFETIME_S,
        "ext_expires_in": _LIFETIME_S,
        "access_token": token(tenant, scope.removesuffix("/.default")),
    }
    return Answer(body=granted)


def _instance(host: str, tenant: Tenant) -> JsonObject:
    return {
        "tenant_discovery_endpoint": f"https://{host}/{tenant.tenant_id}/v2.0/.well-known/openid-configuration",
        "api-version": "1.1",
        "metadata": [{"preferred_network": host, "preferred_cache": host, "aliases": [host]}],
    }


def _encode(document: JsonObject) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()
