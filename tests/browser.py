"""A real headless Chromium, as a person uses it: fixtures, and what tests ask of the editor's page."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from workflow import services

FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
CANVAS = ".konvajs-content canvas"
IMAGE = "Htx.annotationStore.selected.objects[0]"
REGIONS = "() => Htx.annotationStore.selected.serializeAnnotation()"
Json = dict[str, Any]


@contextmanager
def launched(*flags: str) -> Iterator[Any]:
    """A browser that is there, else playwright's own; where CI is set there must be one."""
    playwright = pytest.importorskip("playwright.sync_api")
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next((found for name in names if (found := shutil.which(name))), None)
    with playwright.sync_playwright() as starter:
        try:
            browser = starter.chromium.launch(executable_path=path, args=[*FLAGS, *flags])
        except playwright.Error as error:
            message = f"no browser: {str(error).splitlines()[0]} -> make browser"
            (pytest.fail if os.environ.get("CI") else pytest.skip)(message)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def context(chromium: Any) -> Iterator[Any]:
    with chromium.new_context(viewport={"width": 1400, "height": 860}) as context:
        yield context


@pytest.fixture
def page(context: Any) -> Iterator[Any]:
    """A page that reaches this computer only; fails afterwards if it asked for more."""
    page = context.new_page()
    outside = set()

    def guard(route: Any) -> None:
        url = urlsplit(route.request.url)
        if url.scheme in ("http", "https", "ws", "wss") and url.hostname != "127.0.0.1":
            outside.add(url.hostname)
            route.abort()
        else:
            route.continue_()

    page.route("**/*", guard)
    yield page
    page.close()
    assert outside == set()


@pytest.fixture(scope="module")
def person(context: Any, state: Path) -> None:
    """Logged in through the form, as a person is."""
    page = context.new_page()
    log_in(page, state)
    page.close()


def log_in(page: Any, state: Path) -> None:
    access = services.label_studio_access(state)
    page.goto(f"{access.url}/user/login/")
    page.fill("input[name=email]", access.email)
    page.fill("input[name=password]", access.password)
    page.click("button[type=submit]")
    page.wait_for_url(lambda url: "/login" not in url)


def open_guesses(page: Any, url: str) -> None:
    """Open a task by its address, and again where the editor came up before it knew of the guesses.

    The page asks for the task, whose answer has them, and for the list of tasks, whose answer has not: where
    that comes in between, Label Studio starts an empty annotation.
    """
    from playwright.sync_api import TimeoutError as TooLate

    for _ in range(5):
        page.goto(url)
        page.wait_for_selector(CANVAS)
        with suppress(TooLate):
            page.wait_for_function(
                "() => window.Htx?.annotationStore?.selected?.serializeAnnotation().length > 0", timeout=8000
            )
            return
    raise AssertionError(f"{url} shows no guesses")


def canvas_box(page: Any) -> Json:
    return page.evaluate(f"() => document.querySelector('{CANVAS}').getBoundingClientRect().toJSON()")


def wait_until(check: Any, seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.3)
