"""Fixtures of the contract tests."""

from support.azure import azure, azure_server

__all__ = ["azure", "azure_server"]
