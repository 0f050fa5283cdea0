"""Headless Chromium for a test module: Debian's own, found or installed by `.ci/chromium` and driven by Playwright.

Playwright's own browsers are not used: they come from no package registry. No test may reach beyond the page it opens.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
PHONE, DESKTOP = (390, 844), (1280, 900)


@dataclass(slots=True)
class Opened:
    """A page with what it said and asked for."""

    page: Page
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    @property
    def quiet(self) -> bool:
        """Whether the console is empty and nothing but the document itself was asked for."""
        return not self.said and len(self.asked) == 1


type Open = Callable[..., Opened]


def chromium() -> str:
    """The path of a Chromium; skips the test where there is none, and fails it in CI."""
    found = subprocess.run([ROOT / ".ci" / "chromium"], capture_output=True, text=True, timeout=600, check=False)
    if found.returncode == 0:
        return found.stdout.strip()
    reason = (found.stderr.strip().splitlines() or ["Chromium is missing"])[-1]
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def launched(path: str) -> Iterator[Browser]:
    """A headless browser on loopback: no sandbox, which a container's root cannot have, and no page but our own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-background-networking", "--disable-gpu"]
        )
        yield browser
        browser.close()


def opened(context: BrowserContext, address: str) -> Opened:
    """A new page at an address, listened to from the start."""
    made = Opened(page=context.new_page())

    def say(message: ConsoleMessage) -> None:
        made.said.append(f"{message.type}: {message.text}")

    def ask(request: Request) -> None:
        # The empty icon stands in the page itself
        if not request.url.startswith("data:"):
            made.asked.append(request.url)

    made.page.on("console", say)
    made.page.on("pageerror", lambda error: made.said.append(f"error: {error}"))
    made.page.on("request", ask)
    made.page.goto(address)
    return made
