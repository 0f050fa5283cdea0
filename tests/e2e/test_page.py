"""The page in headless Chromium, served with the function's own headers: what a person sees, types, copies and shares."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from keydrift.model import State
from keydrift.page.answer import Answer, answered, wanted_html
from support.azurite import install_node_modules
from support.browser import DESKTOP, PHONE, Opened, chromium, launched, opened
from support.builders import NOW
from support.postures import REPAIR, SUBSCRIPTIONS, mixed, posture, verdict

# Of `support.postures.mixed`
COUNTS = {"lost": 2, "unknown": 1, "at_risk": 2, "held": 7}
UNREAD = {"source": "backup vaults", "status": 403, "code": "AuthorizationFailed", "repair": "Reader at the scope"}
RIGHT_TO_LEFT = "\u202egnp.exe\u202c"

type Serve = Callable[[dict[str, Any]], str]
type Look = Callable[..., Opened]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    yield from launched(chromium())


@pytest.fixture(scope="module")
def serve() -> Iterator[Serve]:
    """Serves one document at a time, as the function app does; the value of a call is the address."""
    served: dict[str, Any] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = parse_qs(urlsplit(self.path).query).get("format", [None])[0]
            html = wanted_html(self.headers.get("Accept"), asked)
            answer = html if isinstance(html, Answer) else answered(served, html=html)
            self.send_response(answer.status)
            for name, value in {**answer.headers, "Content-Type": f"{answer.mimetype}; charset=utf-8"}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body.encode())

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()

    def put(document: dict[str, Any]) -> str:
        served.clear()
        served.update(document)
        return f"http://127.0.0.1:{server.server_port}/api/posture"

    yield put
    server.shutdown()
    server.server_close()


@pytest.fixture
def look(browser: Browser, serve: Serve) -> Iterator[Look]:
    """Opens a document's page; the browser's clock stands at the document's time."""
    contexts: list[BrowserContext] = []

    def at(document: dict[str, Any], fragment: str = "", *, size: tuple[int, int] = DESKTOP, **options: Any) -> Opened:
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
        context.clock.install(time=NOW)
        contexts.append(context)
        return opened(context, serve(document) + fragment)

    yield at
    for each in contexts:
        each.close()


def rows(page: Page) -> list[str]:
    """The names of the keys shown, in order. As they stand in the document, which holds no others: a row that the browser has not
    painted yet has no inner text."""
    return shown(page).all_text_contents()


def shown(page: Page) -> Locator:
    """The names of the keys shown, for whoever waits for them."""
    return page.locator("#bindings .key strong")


def tile(page: Page, name: str) -> Any:
    return page.locator(f"#tiles [data-verdict={name}]")


# --- what is shown -------------------------------------------------------------------------------------------------------


def test_the_worst_comes_first_and_is_counted(look: Look) -> None:
    """The headline says how many are lost, each tile counts its verdict, and the lost ones are listed first."""
    seen = look(posture(mixed()))
    assert seen.page.locator("h1").inner_text() == "2 key bindings lost"
    assert {name: tile(seen.page, name).locator(".number").inner_text() for name in COUNTS} == {
        name: str(count) for name, count in COUNTS.items()
    }
    assert rows(seen.page)[:3] == ["key-0", "key-1", "key-2"]
    assert seen.page.locator("#bindings > li").count() == sum(COUNTS.values())
    assert seen.quiet, (seen.said, seen.asked)


def test_a_key_binding_shows_everything_that_is_known(look: Look) -> None:
    """Opened, a row shows its finding with code and command, what is missing, the proof, the ids, the consumers and its age."""
    lost = verdict(State.LOST, 7, missing=("keys/get",))
    seen = look(posture([lost]))
    seen.page.locator("summary").click()
    body = seen.page.locator(".body").inner_text()
    for words in (
        "access-policy-absent", "no access policy of vault kv1 names the principal", REPAIR, "keys/get", "Key Vault Crypto User",
        "grants all", "the role gives all that is needed", "/vaults/kv7", lost.proof[0].id, lost.binding.id, "vm1", "7 min",
        "Azure Backup cannot use the key", "No alert yet.",
    ):  # fmt: skip
        assert words in body
    assert seen.quiet, seen.said


def test_the_history_is_shown_newest_first(look: Look) -> None:
    """Past alerts are shown with verdict, actor, codes and the outage's length; a scan's page says that it knows none."""
    past = [
        {"at": "2026-02-01T10:00:00.000Z", "kind": "opened", "previous": "held", "verdict": "lost", "codes": ["key-disabled"],
         "actor": "dana@contoso.com", "actor_confidence": "likely", "via": "event", "outage_seconds": None, "reason": None},
        {"at": "2026-02-01T12:00:00.000Z", "kind": "resolved", "previous": "lost", "verdict": "held", "codes": [], "actor": None,
         "actor_confidence": "none", "via": "sweep", "outage_seconds": 7200, "reason": None},
    ]  # fmt: skip
    held = [verdict(State.HELD)]
    seen = look(posture(held, history=past, since="2026-02-01T12:00:00.000Z"))
    seen.page.locator("summary").click()
    first, second = seen.page.locator(".history li").all_inner_texts()
    assert "resolved" in first
    assert "lost for 120 min" not in first
    assert "lost for 2 h" in first
    for words in ("opened", "The key is disabled", "by dana@contoso.com (likely)", "2026-02-01 10:00 UTC"):
        assert words in second
    assert "28 days" in seen.page.locator(".side").inner_text()
    scanned = look(posture(held, source="scan"))
    scanned.page.locator("summary").click()
    assert "A scan remembers nothing" in scanned.page.locator(".body").inner_text()


@pytest.mark.parametrize(
    ("document", "headline", "said"),
    [
        (posture([]), "No key bindings", "no sweep has ended yet"),
        (posture([], source="scan"), "No key bindings", "Nothing that could be seen"),
        (posture([], unread=[UNREAD]), "No key bindings are known", "1 source could not be read"),
        (posture([verdict(State.HELD, n) for n in range(3)]), "All 3 key bindings are held", "3 held"),
        (posture([verdict(State.HELD)]), "The key binding is held", "1 held"),
        (posture([verdict(State.AT_RISK)]), "Nothing lost, 1 at risk", "1 at risk"),
        (posture([verdict(State.UNKNOWN)]), "1 key binding cannot be judged", "1 unknown"),
        (posture([verdict(State.LOST)], exempted=True), "Nothing to act on", "Exempted"),
    ],
    ids=["empty", "empty scan", "blind", "all held", "one held", "at risk", "unknown", "exempted"],
)
def test_each_state_of_a_tenant_has_its_words(look: Look, document: dict[str, Any], headline: str, said: str) -> None:
    """An empty, blind, healthy or exempted tenant says so in the headline and in the sentence below it."""
    seen = look(document)
    assert seen.page.locator("h1").inner_text() == headline
    assert said in seen.page.locator("#lead").inner_text()
    empty = not document["bindings"]
    assert (seen.page.locator("#filters").is_hidden(), seen.page.locator("#nothing").is_visible()) == (empty, empty)
    assert seen.quiet, seen.said


def test_what_could_not_be_read_is_named(look: Look) -> None:
    """Every source that could not be read is listed with its status and what would repair it."""
    seen = look(posture(mixed(), unread=[{**UNREAD, "source": f"source {n}"} for n in range(30)]))
    shown = seen.page.locator("#unread")
    assert "30 sources could not be read" in shown.inner_text()
    assert shown.locator("li").count() == 20
    shown.get_by_role("button", name="show all 30").click()
    assert shown.locator("li").count() == 30
    assert "HTTP 403 AuthorizationFailed; what would repair it: Reader at the scope" in shown.inner_text()


def test_an_old_page_says_so(look: Look) -> None:
    """A page that is looked at long after it was made says that it shows what was true then."""
    fresh = look(posture(mixed()))
    assert fresh.page.locator("#stale").is_hidden()
    fresh.page.clock.set_fixed_time(NOW.replace(day=4))
    fresh.page.reload()
    assert "made 3 days ago" in fresh.page.locator("#stale").inner_text()


# --- filters, and the address they live in -------------------------------------------------------------------------------


def test_a_view_is_shared_by_its_address(look: Look) -> None:
    """Verdict, text, scenario, subscription and order stand in the address, and the address alone shows the same view again."""
    seen = look(posture(mixed()))
    tile(seen.page, "lost").click()
    tile(seen.page, "held").click()
    seen.page.get_by_label("Scenario").select_option("cvm-cmk")
    seen.page.get_by_label("Subscription").select_option(SUBSCRIPTIONS[1])
    seen.page.get_by_label("Order").select_option("key")
    seen.page.get_by_label("Find").fill("KEY-1 kv1")
    fragment: str = seen.page.evaluate("location.hash")
    assert fragment == f"#q=KEY-1+kv1&verdict=lost,held&scenario=cvm-cmk&subscription={SUBSCRIPTIONS[1]}&sort=key"
    assert rows(seen.page) == ["key-1", "key-11"]
    assert seen.page.locator("#count").inner_text() == "2 of 12 key bindings"
    shared = look(posture(mixed()), fragment)
    assert rows(shared.page) == ["key-1", "key-11"]
    assert (shared.page.get_by_label("Find").input_value(), tile(shared.page, "held").get_attribute("aria-pressed")) == (
        "KEY-1 kv1",
        "true",
    )
    assert tile(shared.page, "unknown").get_attribute("aria-pressed") == "false"
    shared.page.get_by_role("button", name="Clear").click()
    assert len(rows(shared.page)) == 12
    assert shared.page.evaluate("location.hash") == ""
    assert shared.quiet, shared.said


def test_the_oldest_proof_can_come_first(look: Look) -> None:
    """Ordered by proof, what was read longest ago comes first; what could not be judged was tried, not proven."""
    seen = look(posture(mixed()), "#sort=proof")
    assert rows(seen.page) == [f"key-{n}" for n in reversed(range(12))]
    ages = seen.page.locator("#bindings .age").evaluate_all("all => all.map(each => each.textContent)")
    assert (ages[0], ages[9]) == ("proven 11 min before", "tried 2 min before")


def test_back_undoes_one_filter_at_a_time(look: Look) -> None:
    """The browser's Back returns to the filters before; what was typed in one go is one step."""
    seen = look(posture(mixed()))
    tile(seen.page, "held").click()
    seen.page.get_by_label("Find").press_sequentially("key-9")
    # The list follows what is typed a moment later
    expect(shown(seen.page)).to_have_text(["key-9"])
    seen.page.go_back()
    expect(shown(seen.page)).to_have_count(COUNTS["held"])
    assert (len(rows(seen.page)), seen.page.get_by_label("Find").input_value()) == (COUNTS["held"], "")
    seen.page.go_back()
    expect(shown(seen.page)).to_have_count(12)
    seen.page.go_forward()
    expect(shown(seen.page)).to_have_count(COUNTS["held"])


@pytest.mark.parametrize(
    ("query", "keys"),
    [
        ("key-3", ["key-3"]),
        ("kv3.vault", ["key-3"]),
        ("facts-unreadable", ["key-2"]),
        ("the key expires soon", ["key-3", "key-4"]),
        ("soon key-4", ["key-4"]),
        ("backup vault key-9", ["key-9"]),
        ("%3Cscript%3E", []),
    ],
)
def test_text_is_found_wherever_it_stands(look: Look, query: str, keys: list[str]) -> None:
    """Every word has to stand somewhere: in key, vault, scenario, consumer, code or the finding's title."""
    seen = look(posture(mixed()), f"#q={query.replace(' ', '+')}")
    assert rows(seen.page) == keys
    assert seen.page.locator("#nothing").is_visible() == (not keys)


def test_nonsense_in_the_address_is_harmless(look: Look) -> None:
    """A verdict, scenario or order that there is none of shows everything, or nothing with the way back."""
    seen = look(posture(mixed()), "#verdict=doomed,&sort=__proto__&nonsense=%F0%9F")
    assert len(rows(seen.page)) == 12
    nothing = look(posture(mixed()), "#scenario=nonsense")
    assert nothing.page.locator("#nothing").inner_text() == "No key binding fits these filters. Clear them to see all."
    assert (seen.quiet, nothing.quiet) == (True, True)


def test_a_link_leads_to_one_key_binding(look: Look) -> None:
    """A key binding's own link shows it opened and focused; a link to one that is gone says so."""
    document = posture(mixed())
    wanted = document["bindings"][8]["id"]
    seen = look(document, f"#binding={wanted}")
    assert (rows(seen.page), seen.page.locator("details").get_attribute("open")) == (["key-8"], "")
    expect(seen.page.locator("summary")).to_be_focused()
    assert seen.page.locator(f'a[href="#binding={wanted}"]').count() == 1
    gone = look(document, "#binding=00000000-0000-0000-0000-000000000000")
    assert "There is no such key binding now" in gone.page.locator("#nothing").inner_text()


# --- copying -------------------------------------------------------------------------------------------------------------


def _copied(seen: Opened) -> str:
    copied: str = seen.page.evaluate("navigator.clipboard.readText()")
    return copied


@pytest.mark.parametrize("refused", [False, True], ids=["clipboard", "refused"])
def test_the_command_is_copied_as_it_stands(look: Look, refused: bool) -> None:
    """The button copies exactly the command and says so, also where the clipboard's interface refuses."""
    command = f"{REPAIR} '{RIGHT_TO_LEFT} \"two\"  blanks'"
    document = posture([verdict(State.LOST)])
    document["bindings"][0]["findings"][0]["remediation"] = command
    seen = look(document, permissions=["clipboard-read", "clipboard-write"])
    seen.page.evaluate("navigator.clipboard.writeText('something else')")
    if refused:
        seen.page.evaluate("void (navigator.clipboard.writeText = () => Promise.reject(new Error('refused')))")
    seen.page.locator("summary").click()
    assert "U+202E" in seen.page.locator(".command").inner_text()
    seen.page.get_by_role("button", name="Copy the repair command").click()
    expect(seen.page.locator(".copy")).to_have_text("Copied")
    assert seen.page.locator("#said").inner_text() == "The repair command is copied."
    assert _copied(seen) == command
    assert seen.quiet, seen.said


def test_what_is_no_command_has_no_button(look: Look) -> None:
    """A repair that is advice and not a command is shown as a sentence."""
    seen = look(posture([verdict(State.UNKNOWN)]))
    seen.page.locator("summary").click()
    assert "To repair: give the monitor's identity: Reader at the scope" in seen.page.locator(".body").inner_text()
    assert seen.page.locator(".copy").count() == 0


# --- for everybody -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def axe() -> str:
    _, modules = install_node_modules()
    return (modules / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_violation(look: Look, axe: str, theme: str, size: tuple[int, int]) -> None:
    """axe-core finds nothing, in both themes, at a phone's and a desktop's width, with rows open, and where nothing is shown."""
    past = [{"at": "2026-02-01T10:00:00.000Z", "kind": "opened", "previous": "held", "verdict": v, "codes": ["key-disabled"],
             "actor": "dana@contoso.com", "via": "event"} for v in COUNTS]  # fmt: skip
    document = posture(mixed(), unread=[UNREAD], history=past, exempted=True)
    document["bindings"][0]["principal"]["name"] = RIGHT_TO_LEFT + "x" * 500
    seen = look(document, size=size, color_scheme=theme)
    for number in (0, 2, 3, 11):
        seen.page.locator("#bindings > li").nth(number).locator("summary").click()
        expect(seen.page.locator("#bindings > li").nth(number).locator(".body")).to_be_visible()
    tile(seen.page, "lost").focus()
    _no_violation(seen.page, axe)
    assert seen.page.evaluate("getComputedStyle(document.body).backgroundColor") == (
        "rgb(245, 246, 248)" if theme == "light" else "rgb(14, 17, 21)"
    )
    for fragment in ("#q=nothing-like-it", "#verdict=lost"):
        other = look(document, fragment, size=size, color_scheme=theme)
        _no_violation(other.page, axe)


def _no_violation(page: Page, axe: str) -> None:
    page.evaluate(axe)
    found = page.evaluate("axe.run({resultTypes: ['violations']}).then(r => ({bad: r.violations, fine: r.passes.length}))")
    told = [(each["id"], [node["html"][:200] for node in each["nodes"]]) for each in found["bad"]]
    assert told == []
    assert found["fine"] > 20


def test_the_keyboard_alone_is_enough(look: Look) -> None:
    """Skip, filter, open, copy and show more without a pointer, with the focus always somewhere visible."""
    document = posture([verdict(State.LOST, n) for n in range(150)])
    seen = look(document, permissions=["clipboard-read", "clipboard-write"], size=(1280, 500))
    keys = seen.page.keyboard
    keys.press("Tab")
    assert seen.page.locator(":focus").inner_text() == "Skip to the key bindings"
    keys.press("Enter")
    expect(seen.page.locator("#bindings summary").first).to_be_focused()
    keys.press("Enter")
    expect(seen.page.locator("details[open] > .body")).to_be_visible()
    for _ in range(3):
        keys.press("Tab")
        if "copy" in (seen.page.locator(":focus").get_attribute("class") or ""):
            break
    keys.press("Enter")
    expect(seen.page.locator(".copy")).to_have_text("Copied")
    assert _copied(seen) == REPAIR
    tile(seen.page, "lost").focus()
    keys.press("Space")
    assert seen.page.evaluate("location.hash") == "#verdict=lost"
    assert seen.page.locator(":focus").get_attribute("data-verdict") == "lost"


def test_every_control_has_a_name_and_no_colour_stands_alone(look: Look) -> None:
    """A screen reader hears each row's verdict, key, store, scenario, principal, finding, consumers and the age of its proof."""
    seen = look(posture(mixed()))
    heard = " ".join(seen.page.locator("#bindings summary").first.inner_text().split())
    text = seen.page.locator("#bindings summary").first.evaluate("node => node.textContent")
    assert heard.startswith("Lost key-0 key in kv0 ")
    assert "No access policy names the backup identity" in heard
    assert text.endswith("1 consumerproven < 1 min before")


@pytest.mark.parametrize("width", [320, PHONE[0]])
def test_it_reads_on_a_phone(look: Look, width: int) -> None:
    """On a phone nothing is wider than the screen, whatever a name holds, and what is touched is large enough."""
    document = posture(mixed())
    document["bindings"][0]["key"] = "https://kv0.vault.azure.net/keys/" + "k" * 300
    document["bindings"][0]["consumers"] = ["/subscriptions/s/" + "v" * 3000]
    seen = look(document, size=(width, 700), has_touch=True)
    seen.page.locator("#bindings summary").first.tap()
    expect(seen.page.locator(".body")).to_be_visible()
    assert seen.page.evaluate("document.documentElement.scrollWidth") == width
    for control in seen.page.locator("main button:visible:not(.reveal), input, select, summary").all():
        box = control.bounding_box()
        assert box is not None
        assert box["height"] >= 40


# --- much, and hostile ---------------------------------------------------------------------------------------------------


def test_five_thousand_key_bindings_are_drawn_as_they_are_needed(look: Look) -> None:
    """Of 5,000 key bindings 100 are drawn at load and none is opened; scrolling and the button bring more; all are found."""
    document = posture([verdict(State.HELD if n else State.LOST, n) for n in range(5000)])
    seen = look(document, size=(1280, 600))
    assert seen.page.locator("#bindings > li").count() == 100
    assert seen.page.evaluate("document.querySelectorAll('*').length") < 2600
    assert seen.page.locator(".body").count() == 0
    assert seen.page.locator("#more").inner_text() == "Show 100 more of 4,900"
    seen.page.locator("#more").evaluate("node => node.click()")
    assert seen.page.locator("#bindings > li").count() >= 200
    before = seen.page.locator("#bindings > li").count()
    seen.page.locator("#more").scroll_into_view_if_needed()
    expect(seen.page.locator("#bindings > li").nth(before)).to_be_attached()
    seen.page.get_by_label("Find").fill("kv4999.")
    assert rows(seen.page) == ["key-4999"]
    assert seen.page.locator("#more").is_hidden()
    assert seen.quiet, seen.said


NAMES = (
    "</script><script>window.ran=1</script>",
    "<img src=x onerror=window.ran=1>",
    "<!--<script>",
    "{{7*7}}${7*7}\u2028\u2029",
    RIGHT_TO_LEFT,
    "\x00\x1b[31m\ud800",
    "x" * 10_000,
    "__proto__",
)


@pytest.mark.parametrize("name", NAMES, ids=["script", "image", "comment", "templates", "bidi", "control", "long", "proto"])
def test_a_hostile_name_stays_text(look: Look, name: str) -> None:
    """Whatever somebody calls a thing in Azure is text wherever it is shown: it runs, loads and turns around nothing."""
    document = posture([verdict(State.LOST, 1)], unread=[{**UNREAD, "source": name, "repair": name}])
    each = document["bindings"][0]
    each |= {"key": f"https://kv1.vault.azure.net/keys/{name}", "scenario": name, "consumers": [f"/subscriptions/{name}/{name}"]}
    each |= {"key_store_id": f"/subscriptions/{name}/vaults/{name}", "permission_model": name, "missing": [name]}
    each |= {"exemption": {"reason": name, "author": name, "expires": "2026-05-01T00:00:00.000Z", "lapsed": False}}
    each["principal"] |= {"name": name, "identity": f"/{name}", "object_id": name}
    each["findings"][0] |= {"code": name, "summary": name, "remediation": f"az {name}", "evidence": {name: name}}
    each["proof"][0] |= {"role": name, "id": f"/{name}", "scope": name, "reason": name, "kind": name, "permissions": [name]}
    each["history"] = [
        {
            "at": "2026-02-01T10:00:00.000Z",
            "kind": name,
            "previous": name,
            "verdict": "lost",
            "codes": [name],
            "actor": name,
            "via": name,
            "reason": name,
        }
    ]
    seen = look(document)
    structure = _tags(seen.page)
    seen.page.locator("summary").click()
    expect(seen.page.locator(".body")).to_be_visible()
    opened_structure = _tags(seen.page)
    assert seen.page.evaluate("window.ran") is None
    assert seen.quiet, (seen.said, seen.asked)
    plain = look(posture([verdict(State.LOST, 1)], unread=[UNREAD]))
    assert structure - {"SPAN", "BDI"} == _tags(plain.page) - {"SPAN", "BDI"}
    assert not opened_structure & {"IMG", "IFRAME", "OBJECT", "EMBED"}
    assert seen.page.locator("script").count() == 2
    shown = seen.page.locator(".finding .code").inner_text()
    if len(name) > 160:
        assert shown == "x" * 160 + "…"
        key = seen.page.locator(".side dd button.reveal").first
        assert "characters" in key.inner_text()
        key.click()
        assert name in seen.page.locator(".side dl").inner_text()
    elif name in (RIGHT_TO_LEFT, NAMES[3], NAMES[5]):
        assert "U+" in seen.page.locator("#bindings strong").first.inner_text()
        assert not set(name) & {"\u202e", "\u2028", "\x00"} & set(seen.page.locator("#bindings").inner_text())
    else:
        assert seen.page.locator("#bindings strong").first.inner_text() == name


def _tags(page: Page) -> set[str]:
    return set(page.evaluate("[...document.querySelectorAll('*')].map(each => each.tagName)"))


def test_nothing_foreign_may_run(look: Look) -> None:
    """The policy lets only the page's own script and style in: no other inline script, no markup from text, no request."""
    seen = look(posture(mixed()))
    tried = seen.page.evaluate(
        """async () => {
            const tried = {};
            try { document.body.innerHTML = '<p>x</p>'; tried.markup = true; } catch { tried.markup = false; }
            try {
                const script = document.createElement('script');
                script.text = 'window.ran = 1';
                document.body.append(script);
            } catch {}
            tried.script = window.ran === 1;
            try { await fetch('/other'); tried.request = true; } catch { tried.request = false; }
            return tried;
        }"""
    )
    assert tried == {"markup": False, "script": False, "request": False}
    assert len(seen.asked) == 1


def test_the_data_is_the_posture_and_nothing_less(look: Look) -> None:
    """What the page embeds holds every key binding, finding and unread source of the document."""
    document = posture(mixed(), unread=[UNREAD])
    seen = look(document)
    data = json.loads(seen.page.locator("#data").evaluate("node => node.textContent"))
    assert data["count"] == len(document["bindings"])
    assert data["columns"]["id"] == [each["id"] for each in document["bindings"]]
    assert data["columns"]["findings"] == [each["findings"] or None for each in document["bindings"]]
    assert data["unread"] == [UNREAD]
