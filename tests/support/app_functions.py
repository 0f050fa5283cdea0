"""The functions of `function_app.py`, indexed by Azure's library as often as a test asks."""

from __future__ import annotations

from typing import Any

import function_app


def app_functions() -> tuple[Any, ...]:
    """Every function. The library takes a second look for a second function of the same name, so what it noted is forgotten."""
    function_app.app.functions_bindings = {}
    try:
        return tuple(function_app.app.get_functions())
    finally:
        function_app.app.functions_bindings = {}
