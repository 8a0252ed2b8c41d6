"""The web console in a real browser: live, by keyboard, in either light, and whatever it is shown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from agent_executor.web import console as console_room
from tests.browser import needs_chromium, opened_page, running_browser
from tests.e2e.agents_and_runs import THREE_SUMS, create_agent, execute, start_run, wait_for_end
from tests.e2e.approving import approvals, waiting_run
from tests.e2e.console import NARROW, WIDE, Connections, console, is_live, sign_in
from tests.platforms import Client, RunningPlatform, until

PAGE = Path(console_room.__file__).parent / "page"
AXE = Path(__file__).parents[2] / ".tools" / "node_modules" / "axe-core" / "axe.min.js"
needs_axe = pytest.mark.skipif(
    not AXE.exists(), reason="axe-core is not installed; .ci/run does it by npm"
)
HOSTILE = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"
# What is told of a run of one sum: model calls that begin and what they cost are left out.
TOLD_OF_A_SUM = ("started", "tool use", "calls", "done", "end turn", "completed")
# A run of 1,000 model calls with a tool call each, as its log tells it: 5,000 events.
LONG_RUN = """async () => {
  const { RunLog } = await import("/console/data/run_log.js");
  const { Waterfall } = await import("/console/parts/waterfall.js");
  const log = new RunLog();
  let sequence = 0;
  const tell = (type, payload) => log.add({ sequence: ++sequence, type, [type]: payload,
    created_at: new Date(1_800_000_000_000 + sequence * 20).toISOString() });
  const usage = { input_tokens: 9, output_tokens: 9, cache_read_input_tokens: 0,
    cache_creation_input_tokens: 0 };
  tell("run_started", { input: "Count." });
  for (let turn = 1; turn <= 1000; turn++) {
    const call = { model_call_id: `m${turn}`, tool_call_id: `t${turn}` };
    tell("model_call_started", { ...call, turn });
    tell("model_call_completed", { ...call, ...usage, stop_reason: "tool_use", content: [] });
    tell("model_call_settled", { ...call, cost_nano_usd: "1000" });
    tell("tool_call_started", { ...call, tool_name: "calculator", arguments_json: "{}" });
    tell("tool_call_completed", { tool_result: { ...call, tool_name: "calculator", success: true } });
  }
  tell("run_finished", { state: "completed", response: "" });
  const waterfall = new Waterfall(log, () => {});
  document.querySelector("main").replaceChildren(waterfall.element);
  waterfall.draw();
}"""
PAGES = ("runs", "approvals", "costs", "agents", "tools")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as running:
        yield running


@needs_chromium
def test_a_run_appears_as_it_begins_and_is_seen_to_end(client: Client, browser: Browser) -> None:
    agent_id = create_agent(client, name="Clerk")
    with console(browser, client) as (page, _):
        is_live(page)
        expect(page.get_by_role("heading", name="No runs yet")).to_be_visible()
        expect(page.get_by_label("Command", exact=True)).to_contain_text(
            f"/api/v1/agents/{agent_id}/runs"
        )
        start_run(client, agent_id, THREE_SUMS)
        row = page.get_by_role("row").filter(has_text="What is 15 + 27?")
        expect(row).to_contain_text("completed")
        expect(row).to_contain_text("$0.00")
        expect(page.get_by_label("Activity")).to_contain_text("calculator done")


@needs_chromium
def test_a_run_is_started_and_followed_in_its_waterfall(client: Client, browser: Browser) -> None:
    create_agent(client, name="Clerk")
    with console(browser, client, "/agents") as (page, _):
        # By the keyboard alone.
        expect(page.get_by_role("heading", name="Clerk")).to_be_visible()
        page.keyboard.press("n")
        expect(page.get_by_label("Input", exact=True)).to_be_focused()
        page.keyboard.insert_text(THREE_SUMS)
        page.keyboard.press("Control+Enter")
        timeline = page.get_by_role("listbox", name="Timeline")
        expect(timeline.get_by_role("option")).to_have_count(5)
        expect(page.locator(".run-head")).to_contain_text("completed")
        expect(page.get_by_label("Answer")).to_contain_text("15 + 27 = 42")
        page.keyboard.press("j")
        expect(timeline).to_be_focused()
        page.keyboard.press("End")
        page.keyboard.press("Home")
        page.keyboard.press("j")
        chosen = timeline.get_by_role("option", selected=True)
        expect(chosen).to_have_accessible_name(re.compile("^calculator, .*tool call, done"))
        details = page.get_by_label("Details")
        expect(details.get_by_label("Arguments")).to_contain_text('"operation": "add"')
        expect(details.get_by_label("Result")).to_contain_text('"result": 42')
        # The address leads there again.
        page.reload()
        expect(timeline.get_by_role("option")).to_have_count(5)
        expect(page.get_by_label("Answer")).to_contain_text("15 + 27 = 42")


@needs_chromium
def test_a_call_is_approved_and_another_denied_by_keyboard(
    client: Client, browser: Browser
) -> None:
    approved, denied = waiting_run(client), waiting_run(client, "What is 3 * 4?")
    with console(browser, client, "/approvals") as (page, _):
        cards = page.locator(".approval")
        expect(cards).to_have_count(2)
        expect(cards.first).to_contain_text("Sums are sent to a person.")
        expect(cards.first).to_contain_text("expires in")
        expect(page.locator(".badge")).to_have_text("2")
        page.keyboard.press("j")
        page.keyboard.press("e")
        editor = cards.first.get_by_label("Arguments to use instead")
        expect(editor).to_be_focused()
        editor.fill('{"operation": "add", "a": 20, "b": 1}')
        cards.first.focus()
        page.keyboard.press("a")
        expect(cards).to_have_count(1)
        # The focus has gone on to what is left.
        expect(cards.first).to_be_focused()
        cards.first.get_by_label("Reason").fill("Not today.")
        cards.first.focus()
        page.keyboard.press("d")
        expect(page.get_by_role("heading", name="Nothing waits for you")).to_be_visible()
        expect(page.locator(".badge")).to_be_hidden()
    assert approvals(client) == []
    assert wait_for_end(client, approved)["output"]["tool_results"][0]["result"]["result"] == 21
    assert "Not today." in wait_for_end(client, denied)["output"]["tool_results"][0]["error"]


@needs_chromium
def test_a_waiting_run_is_cancelled(client: Client, browser: Browser) -> None:
    run_id = waiting_run(client)
    with console(browser, client, f"/runs/{run_id}") as (page, _):
        expect(page.locator(".run-head")).to_contain_text("waiting")
        expect(page.get_by_role("link", name="Decide")).to_be_visible()
        page.get_by_role("button", name="Cancel run").click()
        page.get_by_label("Why (optional)").fill("Wrong invoice.")
        page.get_by_role("dialog").get_by_role("button", name="Cancel run").click()
        expect(page.locator(".run-head")).to_contain_text("cancelled")
        expect(page.get_by_role("option", name=re.compile("Wrong invoice"))).to_be_visible()
        expect(page.get_by_role("button", name="Cancel run")).to_be_hidden()


@needs_chromium
def test_costs_and_budgets_agree_with_the_ledger(client: Client, browser: Browser) -> None:
    execute(client, create_agent(client, name="Clerk"))
    cost = float(client.get("/api/v1/usage").body["total"]["cost_usd"])
    limit = {"limit_usd": cost * 1.25, "window": "day", "alert_percents": [50]}
    assert client.put("/api/v1/budgets/daily", limit).status == 200
    with console(browser, client, "/costs") as (page, _):
        expect(page.locator(".totals")).to_contain_text(f"${cost:.6f}".rstrip("0"))
        expect(page.get_by_role("figure", name="Cost by agent")).to_contain_text("Clerk")
        budget = page.locator(".budget")
        expect(budget).to_contain_text("80 %")
        expect(budget).to_have_attribute("data-level", "warn")
        page.get_by_role("radio", name="Model").check()
        expect(page.get_by_role("figure", name="Cost by model")).to_contain_text("claude")
        page.get_by_role("radio", name="day", exact=True).check()
        expect(page.get_by_role("img", name=re.compile("^Cost by day: 20"))).to_be_visible()
        assert "by=day" in page.url


@needs_chromium
def test_what_people_write_stays_text(client: Client, browser: Browser) -> None:
    agent_id = create_agent(
        client,
        name=HOSTILE,
        description=HOSTILE,
        approval_policy={"rules": [{"tool": "*", "reason": HOSTILE}]},
    )
    run_id = start_run(client, agent_id, f"What is 15 + 27? {HOSTILE}")
    until(lambda: approvals(client, run_id), what="the wait for a person")
    with console(browser, client) as (page, _):
        for path in (*PAGES, f"runs/{run_id}"):
            page.goto(f"{page.url.split('#')[0]}#/{path}")
            if path not in {"costs", "tools"}:
                expect(page.locator("main")).to_contain_text("<img src=x")
            assert page.locator("main img").count() == 0
            assert page.title() != "taken"
        page.get_by_role("button", name="Cancel run").click()
        page.get_by_label("Why (optional)").fill(HOSTILE)
        page.get_by_role("dialog").get_by_role("button", name="Cancel run").click()
        expect(page.locator(".rows")).to_contain_text("Asked to stop")
        page.get_by_role("option", name=re.compile("^Asked to stop")).click()
        expect(page.get_by_label("Details")).to_contain_text("<img src=x")
        assert page.title() != "taken"


@needs_chromium
def test_a_lost_connection_is_told_and_nothing_is_missed(client: Client, browser: Browser) -> None:
    agent_id = create_agent(client, name="Clerk")
    connections = Connections()
    with console(browser, client, prepare=connections.watch) as (page, _):
        is_live(page)
        execute(client, agent_id, "What is 1 + 1?")
        ends = page.locator(".feed-list li").filter(has_text="completed")
        expect(ends).to_have_count(1)
        connections.break_all()
        expect(page.locator(".live")).to_have_text("Reconnecting…")
        execute(client, agent_id, "What is 2 + 2?")
        connections.mend()
        is_live(page)
        # It is told what happened meanwhile, and nothing of before a second time.
        expect(ends).to_have_count(2)
        expect(page.locator(".feed-list li")).to_have_count(2 * len(TOLD_OF_A_SUM))
        expect(page.get_by_role("row").filter(has_text="2 + 2")).to_contain_text("completed")
    assert "since=" in connections.addresses[-1]


@needs_chromium
@needs_axe
@pytest.mark.parametrize(("scheme", "size"), [("dark", WIDE), ("light", NARROW)])
def test_every_page_is_accessible_and_fits(
    client: Client, browser: Browser, scheme: str, size: dict[str, int]
) -> None:
    run_id = waiting_run(client)
    execute(client, create_agent(client))
    budget = {"limit_usd": 1, "alert_percents": [50]}
    assert client.put("/api/v1/budgets/all", budget).status == 200
    with console(browser, client, color_scheme=scheme, viewport=size) as (page, _):
        assert page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") == (
            scheme == "dark"
        )
        for path in (*PAGES, f"runs/{run_id}"):
            page.goto(f"{page.url.split('#')[0]}#/{path}")
            expect(page.get_by_role("heading", level=1)).to_be_visible()
            expect(page.locator(".loading")).to_have_count(0)
            if path.startswith("runs/"):
                page.keyboard.press("j")
                page.keyboard.press("j")
            assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], path
            assert accessibility_problems(page) == []


@needs_chromium
def test_a_run_of_thousands_of_events_has_few_elements(client: Client, browser: Browser) -> None:
    with console(browser, client, "/tools") as (page, _):
        page.evaluate(LONG_RUN)
        timeline = page.get_by_role("listbox", name="Timeline")
        expect(timeline.get_by_role("option", name=re.compile("^Model call 1,"))).to_be_visible()
        timeline.focus()
        page.keyboard.press("End")
        last = timeline.get_by_role("option", selected=True)
        expect(last).to_have_attribute("aria-posinset", "2000")
        expect(last).to_have_attribute("aria-setsize", "2000")
        expect(last).to_be_in_viewport()
        assert timeline.get_by_role("option").count() < 60


@needs_chromium
def test_the_theme_is_chosen_and_kept(client: Client, browser: Browser) -> None:
    with console(browser, client, color_scheme="light") as (page, _):
        ground = "getComputedStyle(document.body).backgroundColor"
        light = page.evaluate(ground)
        page.keyboard.press("t")
        assert page.evaluate(ground) == light
        page.keyboard.press("t")
        dark = page.evaluate(ground)
        assert dark != light
        page.reload()
        expect(page.get_by_role("button", name="Theme: dark")).to_be_visible()
        assert page.evaluate(ground) == dark


@needs_chromium
def test_the_key_is_kept_nowhere_and_signing_out_ends_the_session(
    platform: RunningPlatform, client: Client, browser: Browser
) -> None:
    created = client.post("/api/v1/api-keys", {"name": "console", "permissions": ["run:read"]})
    key = next(value for value in created.body.values() if str(value).startswith("aek_"))
    origin = f"http://127.0.0.1:{platform.http_port}"
    with opened_page(browser, origin, viewport=WIDE) as (page, complaints):
        page.goto(f"{origin}/console")
        page.get_by_label("API key or token").fill("aek_wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("What was shown is no API key.")
        complaints.errors.clear()
        page.get_by_label("API key or token").fill("")
        sign_in(page, key)
        expect(page.get_by_role("heading", name="Runs")).to_be_visible()
        stored = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
        assert key not in stored
        assert page.evaluate("document.cookie") == ""
        [cookie] = page.context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        # What the key does not permit is told in the API's own words.
        page.keyboard.press("3")
        expect(page.get_by_role("alert").first).to_contain_text("PERMISSION_DENIED")
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("API key or token")).to_be_visible()
        session = {"cookie": f"{cookie['name']}={cookie['value']}"}
        anyone = platform.client("")
        assert anyone.call("GET", "/api/v1/caller", headers=session).status == 401


@needs_chromium
def test_the_shortcuts_are_listed_and_can_be_turned_off(client: Client, browser: Browser) -> None:
    with console(browser, client) as (page, _):
        page.keyboard.press("?")
        dialog = page.get_by_role("dialog", name="Keyboard shortcuts")
        expect(dialog).to_contain_text("Approvals")
        dialog.get_by_label("Shortcuts of one key are on").uncheck()
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        page.keyboard.press("3")
        expect(page.get_by_role("heading", name="Runs")).to_be_visible()
        page.keyboard.press("?")
        expect(dialog).to_be_visible()


def accessibility_problems(page: Page) -> list[str]:
    """Returns what axe finds against WCAG 2.2 AA."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = page.evaluate(
        "axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa', 'best-practice']})"
        ".then((result) => result.violations)"
    )
    return [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in found]


def test_it_needs_no_token_and_runs_nothing_but_its_own_files(platform: RunningPlatform) -> None:
    anyone = platform.client("")
    for path in ("/console", "/console/"):
        answer = anyone.get(path)
        assert answer.status == 200
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self';" in policy
        assert "unsafe" not in policy
        assert "require-trusted-types-for 'script'" in policy
        assert b"//" not in answer.content
    script = anyone.get("/console/data/live.js")
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    same = {"if-none-match": script.headers["etag"]}
    assert anyone.call("GET", "/console/data/live.js", headers=same).status == 304
    assert anyone.get("/console/nothing.js").body["code"] == "NOT_FOUND"


def test_nothing_of_it_can_make_markup_of_text() -> None:
    sinks = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser"
    )
    for file in PAGE.rglob("*.js"):
        text = file.read_text(encoding="utf-8")
        assert not sinks.search(text), file
        # An address of another host would be refused by the policy; it is not to be tried.
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text), file
        assert len(text.splitlines()) <= 260, file
