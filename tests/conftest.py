"""Fixtures that several folders of tests share."""

from support.azurite import azurite

__all__ = ["azurite"]
