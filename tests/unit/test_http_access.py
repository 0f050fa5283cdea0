"""Nobody gets an answer from the function app without a key."""

from __future__ import annotations

import json

from support.app_functions import app_functions


def test_every_route_needs_a_function_key() -> None:
    """Every HTTP function, as the worker's library indexes it, asks the host for a function key; none is anonymous."""
    triggers = [
        binding
        for each in app_functions()
        for binding in json.loads(each.get_function_json())["bindings"]
        if binding["type"] == "httpTrigger"
    ]
    assert triggers
    assert {(each["route"], each["authLevel"]) for each in triggers} == {(each["route"], "FUNCTION") for each in triggers}


def test_no_route_changes_anything() -> None:
    """Every route answers GET alone: whoever holds a function key reads, and writes nothing."""
    methods = {
        method
        for each in app_functions()
        for binding in json.loads(each.get_function_json())["bindings"]
        if binding["type"] == "httpTrigger"
        for method in binding["methods"]
    }
    assert {str(each).upper() for each in methods} == {"GET"}
