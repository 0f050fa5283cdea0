"""Azure's clouds: names in any spelling, and endpoints that belong together."""

from __future__ import annotations

import pytest

from keydrift.adapters.cloud import CLOUDS, Cloud, cloud_named
from keydrift.errors import ConfigError
from keydrift_local.azure.hosts import Service, site_of


@pytest.mark.parametrize("name", ["AzureCloud", "azurecloud", " AZUREUSGovernment ", "AzureChinaCloud"])
def test_a_cloud_is_found_in_any_spelling(name: str) -> None:
    """Letter case and blanks around a cloud's name do not matter."""
    assert cloud_named(name).name.lower() == name.strip().lower()


def test_an_unknown_cloud_names_those_that_exist() -> None:
    """A misspelt cloud is one line that says what to write."""
    with pytest.raises(ConfigError) as caught:
        cloud_named("AzurePublic")
    assert str(caught.value) == "no cloud is called `AzurePublic`: use one of AzureCloud, AzureUSGovernment, AzureChinaCloud"


@pytest.mark.parametrize("cloud", CLOUDS.values(), ids=lambda cloud: cloud.name)
def test_every_endpoint_accepts_the_audience_that_is_asked_for(cloud: Cloud) -> None:
    """At each cloud's hosts stands the service meant, and it accepts the token audience that keydrift asks for."""
    for host, service, audience in (
        (cloud.resource_manager, Service.ARM, f"https://{cloud.resource_manager}"),
        (cloud.graph, Service.GRAPH, f"https://{cloud.graph}"),
        (f"hsm1.{cloud.hsm_suffix}", Service.MANAGED_HSM, cloud.hsm_audience),
        (cloud.authority, Service.ENTRA, None),
    ):
        site = site_of(host)
        assert site is not None, host
        assert site.service is service
        assert audience is None or audience in site.audiences


def test_the_clouds_share_no_endpoint() -> None:
    """No host of one cloud stands in another, so that a token never leaves its cloud."""
    for member in ("resource_manager", "authority", "graph", "hsm_suffix", "monitor_audience"):
        assert len({getattr(cloud, member) for cloud in CLOUDS.values()}) == len(CLOUDS)


def test_the_backup_service_of_each_cloud() -> None:
    """The Backup Management Service has the application ids that Microsoft documents."""
    assert {cloud.name: cloud.backup_app_id for cloud in CLOUDS.values()} == {
        "AzureCloud": "262044b1-e2ce-469f-a196-69ab7ada62d3",
        "AzureUSGovernment": "ff281ffe-705c-4f53-9f37-a40e6f2c68f3",
        "AzureChinaCloud": "262044b1-e2ce-469f-a196-69ab7ada62d3",
    }
