"""Every public event payload we know of, against the decoder. What other people's events look like is not ours to choose."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from keydrift.events import Canary, Decoded, NotOurs, Undecodable, decode
from keydrift.model import ChangeNotice
from support.corpus import corpus

type Expected = tuple[str, ...]

NOT_OURS: Expected = ("not ours",)
NO_SCHEMA: Expected = ("undecodable", "$.eventType")
NO_TOPIC: Expected = ("undecodable", "$.topic")
SECRET_CREATED = "Microsoft.KeyVault.SecretNewVersionCreated"
SAMPLE_SECRET: Expected = (
    "notice",
    SECRET_CREATED,
    "/subscriptions/{subscription-id}/resourceGroups/sample-rg/providers/Microsoft.KeyVault/vaults/sample-kv/secrets/newsecret",
)

# One file, and what each event found in it decodes to. A result is `not ours`, or `undecodable` and the JSON path, or `notice`
# with the operation and the resource id.
TABLE: dict[str, tuple[Expected, ...]] = {
    "activitylog_azureactivity_rows.json": (NO_SCHEMA,) * 4,
    "activitylog_captured_resource_group_delete.json": (NO_SCHEMA,),
    "activitylog_docs_administrative.json": (NO_SCHEMA,),
    "activitylog_docs_role_assignment_create_pair.json": (NO_SCHEMA,) * 2,
    "activitylog_panther_keyvault_deleted.json": (NO_SCHEMA,) * 3,
    "activitylog_panther_keyvault_key_accessed_or_recovered.json": (NO_SCHEMA,) * 4,
    "activitylog_panther_keyvault_key_purged.json": (NO_SCHEMA,) * 3,
    "activitylog_panther_keyvault_purged.json": (NO_SCHEMA,) * 3,
    "activitylog_panther_recovery_services_container_deleted.json": (NO_SCHEMA,) * 5,
    "activitylog_panther_role_assignment_privileged_or_elevated.json": (NO_SCHEMA,) * 4,
    "auditevent_docs_keyvault.json": (NO_SCHEMA,),
    "auditevent_docs_managed_hsm.json": (NO_SCHEMA,),
    "delivery_headers_webhook.json": (NO_SCHEMA,) * 2,
    "edge_ce_javasdk_data_base64.json": (NOT_OURS,),
    # Base64, and the text in it: a trailing comma, so neither is JSON.
    "edge_custodian_queue_message.json": (("undecodable", "$"), ("undecodable", "$")),
    "edge_eg_javasdk_batch_with_duplicate.json": (NOT_OURS,) * 4,
    "edge_eg_javasdk_no_data.json": (NOT_OURS,),
    "edge_eg_javasdk_not_an_array.json": (NOT_OURS,),
    **{
        f"eg_{schema}_spec_{kind}.json": (NOT_OURS,)
        for schema in ("ce", "eg")
        for kind in ("client_created_or_updated", "client_deleted", "clientsession_connected", "clientsession_disconnected")
    },
    "eg_eg_subscription_deleted.json": (NOT_OURS,),
    "eg_eg_subscription_validation.json": (NOT_OURS,),
    "kv_ce_captured_cert_near_expiry_2025.json": (NOT_OURS,),
    "kv_ce_captured_cert_placeholder.json": (NOT_OURS,),
    "kv_ce_docs_secret_new_version.json": (SAMPLE_SECRET,),
    "kv_ce_minimal_objectname.json": (("undecodable", "$.specversion"),),
    "kv_ce_spec_secret_new_version_created.json": (SAMPLE_SECRET,),
    "kv_eg_blog_expireson.json": (NO_TOPIC,),
    "kv_eg_captured_cert_near_expiry.json": (NOT_OURS,),
    "kv_eg_doc_number_epoch.json": (
        (
            "notice",
            "Microsoft.KeyVault.SecretNearExpiry",
            "/subscriptions/your-sub/resourceGroups/your-rg/providers/Microsoft.KeyVault/vaults/your-keyvault-name"
            "/secrets/your-secret-name",
        ),
    ),
    "kv_eg_docs_2020_camelcase.json": (SAMPLE_SECRET,),
    "kv_eg_docs_secret_new_version.json": (SAMPLE_SECRET,),
    "kv_eg_go_test_null_nbf_exp.json": (
        (
            "notice",
            SECRET_CREATED,
            "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/my-vault"
            "/secrets/my-app-password",
        ),
    ),
    "kv_eg_issue78126_custom_topic.json": (NO_TOPIC,),
    "kv_eg_minimal_objectname.json": (NO_TOPIC,),
    "kv_eg_reloader_no_objectname.json": (
        (
            "notice",
            SECRET_CREATED,
            "/subscriptions/{subscription-id}/resourceGroups/{resource-group}/providers/Microsoft.KeyVault/vaults/{vault-name}"
            "/secrets/{secret-name}",
        ),
    ),
    "kv_eg_spec_secret_new_version_created.json": (SAMPLE_SECRET,),
    **{
        f"noise_{schema}_spec_{kind}.json": (NOT_OURS,)
        for schema in ("ce", "eg")
        for kind in ("blob_created", "keyvalue_modified")
    },
    **{
        f"policy_{schema}_spec_policy_state_{kind}.json": (NOT_OURS,)
        for schema in ("ce", "eg")
        for kind in ("changed", "created")
    },
    # Microsoft's specification samples are about Storage and Event Hubs.
    **{
        f"res_{schema}_spec_resource_{kind}_{outcome}.json": (NOT_OURS,)
        for schema in ("ce", "eg")
        for kind in ("action", "delete", "write")
        for outcome in ("cancel", "failure", "success")
    },
    "res_data_only_issue5189_subscription_deployment.json": (NO_SCHEMA,),
    "res_eg_docs2017_rg_topic.json": (NOT_OURS,),
    "res_eg_docs2017_string_authorization.json": (NOT_OURS,),
    "res_eg_docs_action_success.json": (NOT_OURS,),
    "res_eg_docs_delete_success.json": (NOT_OURS,),
    "res_eg_docs_write_success.json": (NOT_OURS,),
    "res_eg_javasdk_action_success.json": (NOT_OURS,),
    "res_eg_javasdk_delete_success_strings.json": (NOT_OURS,),
    "res_eg_javasdk_write_failure.json": (NOT_OURS,),
    "res_eg_other_product_kv_write.json": (
        (
            "notice",
            "Microsoft.KeyVault/vaults/write",
            "/subscriptions/{subscription_id}/resourceGroups/{resource_group}/providers/Microsoft.KeyVault/vaults/{vault_name}",
        ),
    ),
    "res_eg_readme_role_assignment_misshaped.json": (NOT_OURS,),
    **{
        f"rn_{schema}_spec_{kind}.json": (NOT_OURS,)
        for schema in ("ce", "eg")
        for kind in (
            "healthresources_availabilitystatuschanged",
            "healthresources_resourceannotated",
            "resources_createdorupdated",
            "resources_deleted",
        )
    },
}


def payloads(file: Path) -> list[bytes | str | object]:
    """What a file holds: most are one delivery; some wrap what was found (records of tests, a queue message's text)."""
    raw = file.read_bytes()
    document = json.loads(raw)
    if isinstance(document, dict) and "queueMessageBase64" in document:
        return [document["queueMessageBase64"], document["decodedText"]]
    if isinstance(document, dict) and isinstance(document.get("records"), list):
        return list(document["records"])
    if isinstance(document, list) and all("record" in each for each in document):
        return [each["record"] for each in document]
    if isinstance(document, list) and all("headers" in each for each in document):
        return [dict(each["headers"]) for each in document]
    return [raw]


def summary(decoded: Decoded) -> Expected:
    match decoded:
        case ChangeNotice():
            return ("notice", decoded.operation, str(decoded.resource_id))
        case NotOurs() | Canary():
            return ("not ours",)
        case Undecodable():
            return ("undecodable", decoded.error.path)


@pytest.mark.parametrize("name", sorted(TABLE))
def test_each_public_payload_decodes_to_what_the_table_says(name: str) -> None:
    """Every event of every public payload becomes a notice, is not ours, or names the JSON path that is wrong."""
    file = corpus() / "events" / name
    assert tuple(summary(each) for payload in payloads(file) for each in decode(payload)) == TABLE[name]


def test_the_table_names_every_payload() -> None:
    """A payload added to the corpus, or taken from it, fails until the table says what it decodes to."""
    assert {file.name for file in (corpus() / "events").iterdir()} == set(TABLE)
