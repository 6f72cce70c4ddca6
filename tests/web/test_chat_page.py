"""What somebody does at the page, in a real browser against a real server."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.fixtures.scripted import Scripted
from tests.web.conftest import Server, Watch, answers, ask, finished

WORDS = " ".join(f"word{i}" for i in range(60))
Open = Callable[..., Page]


def test_a_question_is_answered_and_kept(page: Page, open_page: Open, scripted: Scripted, server: Server) -> None:
    scripted.reply = "Some **bold** text.\n\n```python\nprint('hello')\n```"
    ask(page, "First question")
    finished(page)
    assert page.url.startswith(f"{server.url}/c/")
    assert page.locator(".prose strong").inner_text() == "bold"
    expect(page.locator(".prose .hljs-string")).to_have_text("'hello'")
    expect(page.locator("nav .thread")).to_have_text("First question")
    expect(page).to_have_title("First question · Colosse")
    expect(page.locator(".usage")).to_contain_text("tokens")

    page.reload()
    finished(page)
    assert page.locator(".bubble").inner_text() == "First question"
    assert page.locator(".prose strong").inner_text() == "bold"

    page.get_by_role("button", name="New conversation").click()
    expect(page.locator(".greeting")).to_be_visible()
    page.get_by_role("link", name="First question").click()
    finished(page)
    page.go_back()
    expect(page.locator(".greeting")).to_be_visible()


def test_reloaded_in_the_middle_of_an_answer(page: Page, scripted: Scripted) -> None:
    scripted.reply, scripted.tokens_per_second = WORDS, 15
    ask(page, "Go on")
    expect(page.locator(".prose")).to_contain_text("word5")
    page.reload()
    expect(page.locator(".prose")).to_contain_text("word5")
    assert page.get_by_role("button", name="Stop").is_visible()
    scripted.tokens_per_second = 0
    finished(page)
    assert answers(page) == [WORDS]


def test_two_tabs_show_the_same(page: Page, open_page: Open, scripted: Scripted, server: Server) -> None:
    scripted.reply, scripted.tokens_per_second = WORDS, 15
    ask(page, "Go on")
    expect(page.locator(".prose")).to_contain_text("word3")
    second = open_page(page.url.removeprefix(server.url), context=page.context)
    expect(second.locator(".prose")).to_contain_text("word3")
    scripted.tokens_per_second = 0
    finished(page)
    finished(second)
    assert answers(page) == answers(second) == [WORDS]

    # What is asked in one appears in the other.
    scripted.reply = "another"
    ask(second, "And now?")
    finished(second, 2)
    finished(page, 2)
    assert answers(page) == [WORDS, "another"]


def test_stop_keeps_what_was_written(page: Page, scripted: Scripted) -> None:
    scripted.reply, scripted.tokens_per_second = WORDS, 15
    ask(page, "Go on")
    expect(page.locator(".prose")).to_contain_text("word2")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".state")).to_have_text("You stopped this answer.")
    (text,) = answers(page)
    assert WORDS.startswith(text)
    scripted.wait(lambda: scripted.requests[-1].disconnected)
    page.reload()
    finished(page)
    assert answers(page) == [text]


def test_answers_again_and_switches_between_versions(page: Page, scripted: Scripted) -> None:
    scripted.reply = "first version"
    ask(page, "Question")
    finished(page)
    scripted.reply = "second version"
    page.get_by_role("button", name="Answer again").click()
    expect(page.locator(".prose")).to_have_text("second version")
    expect(page.locator(".versions")).to_have_text("2/2")
    page.get_by_role("button", name="Previous version").click()
    expect(page.locator(".prose")).to_have_text("first version")
    page.reload()
    expect(page.locator(".prose")).to_have_text("first version")
    expect(page.locator(".versions")).to_have_text("1/2")


def test_edits_a_question(page: Page, scripted: Scripted) -> None:
    ask(page, "one")
    finished(page)
    ask(page, "two")
    finished(page, 2)
    page.locator("article.user").first.hover()
    page.get_by_role("button", name="Edit").first.click()
    page.get_by_role("textbox", name="Edit your message").fill("three")
    page.keyboard.press("Enter")
    expect(page.locator(".prose")).to_have_text(["echo: three"])
    assert [m["content"] for m in scripted.requests[-1].body["messages"] if m["role"] == "user"] == ["three"]
    page.locator("article.user").hover()
    page.get_by_role("button", name="Previous version").first.click()
    expect(page.locator(".prose")).to_have_text(["echo: one", "echo: two"])


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_the_server_restarts_in_the_middle(
    page: Page, scripted: Scripted, server: Server, watch: Watch, how: signal.Signals
) -> None:
    watch.expected = ["ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_INCOMPLETE_CHUNKED", "ERR_EMPTY_RESPONSE"]
    scripted.reply, scripted.tokens_per_second = WORDS, 15
    ask(page, "Go on")
    expect(page.locator(".prose")).to_contain_text("word9")
    server.end(how)
    if how == signal.SIGKILL:
        expect(page.locator(".state")).to_have_text("Connection lost. Reconnecting…")
    server.start()
    expect(page.locator(".state")).to_contain_text("This answer was interrupted.")
    (text,) = answers(page)
    assert text.startswith("word0 word1 ")
    assert WORDS.startswith(text)
    scripted.reply, scripted.tokens_per_second = "the rest", 0
    page.get_by_role("button", name="Continue").click()
    finished(page, 2)
    assert answers(page) == [text, "the rest"]


def test_the_engine_dies_in_the_middle(page: Page, scripted: Scripted) -> None:
    scripted.reply, scripted.fail_after = WORDS, 5
    ask(page, "Go on")
    expect(page.locator(".state")).to_contain_text("This answer was interrupted.")
    assert answers(page) == ["word0 word1 word2 word3 word4"]
    scripted.mend()
    page.locator(".ways-out").get_by_role("button", name="Answer again").click()
    finished(page)
    assert answers(page) == [WORDS]


def test_the_server_is_away(page: Page, server: Server, watch: Watch) -> None:
    watch.expected = ["ERR_CONNECTION_REFUSED"]
    server.end()
    ask(page, "Is anybody there?")
    expect(page.get_by_role("alert")).to_contain_text("The server does not answer.")
    expect(page.get_by_role("textbox", name="Message")).to_have_value("Is anybody there?")
    server.start()
    page.get_by_role("button", name="Send").click()
    finished(page)
    assert answers(page) == ["echo: Is anybody there?"]


def test_a_context_too_long_is_told_with_both_lengths(page: Page, scripted: Scripted) -> None:
    scripted.max_model_len = 8
    ask(page, "far too many words " * 20)
    expect(page.locator(".state")).to_contain_text(re.compile(r"No answer this time.*\d tokens.*takes 8", re.S))


def test_renames_and_deletes(page: Page) -> None:
    ask(page, "A question")
    finished(page)
    page.get_by_role("button", name="Options for “A question”").click()
    page.get_by_role("menuitem", name="Rename").click()
    page.get_by_role("textbox", name="New title").fill("Better")
    page.keyboard.press("Enter")
    expect(page.locator("nav .thread")).to_have_text("Better")
    page.reload()
    expect(page.locator("nav .thread")).to_have_text("Better")

    page.get_by_role("button", name="Options for “Better”").click()
    page.get_by_role("menuitem", name="Delete").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Cancel").click()
    expect(page.locator("nav .thread")).to_have_text("Better")
    page.get_by_role("button", name="Options for “Better”").click()
    page.get_by_role("menuitem", name="Delete").click()
    dialog.get_by_role("button", name="Delete").click()
    expect(page.locator("nav .thread")).to_have_count(0)
    expect(page.locator(".greeting")).to_be_visible()


def test_a_thread_that_is_not_there(open_page: Open, watch: Watch) -> None:
    watch.expected = ["404"]
    page = open_page("/c/nothing-here")
    expect(page.get_by_role("alert")).to_contain_text("This conversation is not here")


def test_drafts_are_kept_for_each_thread(page: Page) -> None:
    field = page.get_by_role("textbox", name="Message")
    ask(page, "A question")
    finished(page)
    field.fill("half a thought")
    page.get_by_role("button", name="New conversation").click()
    expect(field).to_have_value("")
    page.get_by_role("link", name="A question").click()
    expect(field).to_have_value("half a thought")
    page.reload()
    expect(field).to_have_value("half a thought")


def test_scrolling_up_lets_go_and_the_button_comes_back(page: Page, scripted: Scripted) -> None:
    scripted.reply = "\n\n".join(f"line {i}" for i in range(400))
    scripted.tokens_per_second = 150
    ask(page, "Go on")
    expect(page.locator(".prose")).to_contain_text("line 80")
    page.mouse.move(700, 400)
    page.mouse.wheel(0, -600)
    latest = page.get_by_role("button", name="Jump to latest")
    expect(latest).to_be_visible()
    top = page.locator(".scroll").evaluate("box => box.scrollTop")
    expect(page.locator(".prose")).to_contain_text("line 160")
    assert page.locator(".scroll").evaluate("box => box.scrollTop") == pytest.approx(top, abs=2)
    latest.click()
    expect(latest).to_be_hidden()
    expect(page.locator(".prose")).to_contain_text("line 240")
    page.wait_for_function(
        "() => { const box = document.querySelector('.scroll');"
        " return box.scrollHeight - box.scrollTop - box.clientHeight < 60 }"
    )
    scripted.tokens_per_second = 0
    finished(page)


def test_keys_of_the_composer(page: Page, scripted: Scripted) -> None:
    field = page.get_by_role("textbox", name="Message")
    expect(field).to_be_focused()
    expect(page.get_by_role("button", name="Send")).to_be_disabled()
    page.keyboard.type("one")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("two")
    expect(field).to_have_value("one\ntwo")
    # Enter that ends the writing of a character sends nothing.
    field.dispatch_event("keydown", {"key": "Enter", "isComposing": True, "bubbles": True})
    expect(field).to_have_value("one\ntwo")
    page.keyboard.press("Enter")
    finished(page)
    assert scripted.requests[-1].body["messages"][-1]["content"] == "one\ntwo"
    expect(field).to_be_focused()


def test_starters_fill_the_composer(page: Page) -> None:
    page.get_by_role("button", name="Fix code").click()
    field = page.get_by_role("textbox", name="Message")
    expect(field).to_have_value(re.compile(r"^Find what is wrong .*```\n\n```$", re.S))
    expect(field).to_be_focused()
    page.keyboard.type("x")
    expect(field).to_have_value(re.compile(r"```\nx\n```$"))


def test_the_model_is_chosen_and_remembered(page: Page, scripted: Scripted) -> None:
    page.get_by_role("button", name="Model: scripted").click()
    menu = page.get_by_role("menu")
    expect(menu.get_by_role("menuitemradio")).to_have_count(1)
    expect(menu.get_by_role("menuitemradio")).to_be_focused()
    page.keyboard.press("Enter")
    expect(menu).to_be_hidden()
    expect(page.get_by_role("button", name="Model: scripted")).to_be_focused()


def test_copies(page: Page, open_page: Open, scripted: Scripted) -> None:
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    scripted.reply = "Run **this**:\n\n```sh\nls -l | wc\n```"
    ask(page, "How many?")
    finished(page)
    page.get_by_role("button", name="Copy code").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == "ls -l | wc"
    page.locator("article.assistant > .tools").get_by_role("button", name="Copy").click()
    assert page.evaluate("navigator.clipboard.readText()") == scripted.reply


def test_reasoning_is_folded_away(page: Page, scripted: Scripted) -> None:
    scripted.reasoning, scripted.reply = "Let me think hard.", "Done."
    ask(page, "Think")
    finished(page)
    page.get_by_text("Reasoning").click()
    expect(page.locator(".reasoning .prose")).to_have_text("Let me think hard.")


def test_says_to_those_who_listen_what_others_see(page: Page) -> None:
    ask(page, "hello there")
    finished(page)
    expect(page.get_by_role("status")).to_have_text("Answer: echo: hello there")


FRENCH: dict[str, Any] = {"locale": "fr-FR"}


def test_french(open_page: Open) -> None:
    page = open_page(**FRENCH)
    expect(page.locator("html")).to_have_attribute("lang", "fr")
    expect(page.get_by_role("textbox", name="Message")).to_have_attribute("placeholder", "Demandez à Colosse")
    page.get_by_role("button", name="Réglages").click()
    page.get_by_role("menuitemradio", name="English").click()
    expect(page.locator("html")).to_have_attribute("lang", "en")
    page.reload()
    expect(page.get_by_role("button", name="New conversation")).to_be_visible()


def test_dark_and_light(open_page: Open) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    page = open_page(color_scheme="dark")
    dark = page.evaluate(paper)
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("menuitemradio", name="Light").click()
    light = page.evaluate(paper)
    assert light != dark
    page.reload()
    assert page.evaluate(paper) == light


def test_phone(open_page: Open, scripted: Scripted) -> None:
    scripted.reply = "A table:\n\n| a | b |\n|---|---|\n| " + "long " * 40 + " | 2 |\n\n```\n" + "x" * 300 + "\n```"
    page = open_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    ask(page, "A question")
    finished(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.get_by_role("button", name="Show conversations").click()
    drawer = page.get_by_role("dialog")
    expect(drawer.get_by_role("link", name="A question")).to_be_visible()
    drawer.get_by_role("button", name="New conversation").click()
    expect(drawer).to_be_hidden()
    expect(page.locator(".greeting")).to_be_visible()
    page.get_by_role("button", name="Show conversations").click()
    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()


def test_a_long_conversation_shows_its_end_first(page: Page, server: Server, open_page: Open) -> None:
    with server.http() as http:
        thread = http.post("/api/threads", json={}).json()
        for index in range(40):
            started = http.post(f"/api/threads/{thread['id']}/runs", json={"content": f"question {index}"}).json()
            with http.stream("GET", f"/api/runs/{started['run']['id']}/events") as events:
                events.read()
    page = open_page(f"/c/{thread['id']}")
    expect(page.locator("article")).to_have_count(60)
    expect(page.get_by_text("echo: question 39")).to_be_in_viewport()
    page.get_by_role("button", name="Show earlier messages").click()
    expect(page.locator("article")).to_have_count(80)
