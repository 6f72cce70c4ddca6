"""The pages of the skills, in a real browser against a real server."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import docx
from playwright.sync_api import Page, expect

from tests.assistant.translate.conftest import word_file
from tests.fixtures.scripted import Scripted
from tests.web.conftest import Watch, answers, finished

Open = Callable[..., Page]
DOCUMENT = {
    "name": "towers.md",
    "mimeType": "text/markdown",
    "buffer": b"# Towers\n\nThe tower of Rivermouth is 84 metres high.\n",
}


def cited(body: dict[str, Any]) -> str:
    """What a model says that read the passage."""
    known = "84 metres" in json.dumps(body["messages"])
    return "The tower of Rivermouth is 84 metres high [1]." if known else "I do not know."


def test_a_document_is_added_asked_cited_and_removed(open_page: Open, scripted: Scripted) -> None:
    scripted.reply = cited
    page = open_page()
    page.get_by_role("link", name="Documents").click()
    expect(page).to_have_title("Documents · Colosse")
    page.get_by_label("Add documents").set_input_files([DOCUMENT])  # type: ignore[list-item]
    expect(page.locator(".documents li")).to_contain_text("1 passage")
    page.get_by_label("Question").fill("How high is the tower of Rivermouth?")
    page.get_by_role("button", name="Start").click()
    expect(page.locator(".verdict")).to_have_attribute("data-verified", "true")
    expect(page.locator(".skill-answer")).to_contain_text("84 metres high")
    page.locator(".sources summary").click()
    expect(page.locator(".sources blockquote")).to_contain_text("84 metres")
    page.get_by_role("button", name="Show what stands around it").click()
    expect(page.locator(".sources blockquote p")).to_have_count(1)
    # In chat as well, and the source stays with the message.
    page.get_by_role("button", name="New conversation").first.click()
    page.get_by_role("button", name="My documents").click()
    page.get_by_role("textbox", name="Message").fill("How high is the tower of Rivermouth?")
    page.keyboard.press("Enter")
    finished(page)
    page.reload()
    finished(page)
    expect(page.locator(".sources summary")).to_contain_text("Towers")
    page.get_by_role("link", name="Documents").click()
    page.get_by_role("button", name="Remove towers.md").click()
    expect(page.locator(".documents li")).to_have_count(0)


def test_a_skill_is_cancelled_and_says_what_went_wrong(open_page: Open, scripted: Scripted, watch: Watch) -> None:
    scripted.reply, scripted.tokens_per_second = " ".join(["mot"] * 200), 5
    page = open_page("/skills/translate")
    page.get_by_label("Text").fill("The harbour was quiet and the boats stayed where they were.")
    page.get_by_label("Into the language").fill("fr")
    page.get_by_role("button", name="Start").click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".state")).to_have_text("You stopped this.")
    watch.expected.append("400")
    page.get_by_label("Text").fill("")
    page.get_by_role("button", name="Start").click()
    expect(page.locator(".state")).to_have_text("There is nothing to work on: fill in the text, or choose a file.")


def test_pages_have_every_form_in_both_languages_on_a_phone(open_page: Open) -> None:
    for locale, words in (("en-US", ("Write", "Fix", "Explain")), ("fr-FR", ("Écrire", "Corriger", "Expliquer"))):
        page = open_page("/skills/code", locale=locale, viewport={"width": 390, "height": 844})
        for word in words:
            page.get_by_role("tab", name=word, exact=True).click()
            expect(page.get_by_role("tab", name=word, exact=True)).to_have_attribute("aria-selected", "true")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.locator(".skill-field").count() > 0


def test_a_translated_document_is_saved_as_a_file(open_page: Open, scripted: Scripted) -> None:
    scripted.reply = "Ein Satz."
    page = open_page("/skills/translate")
    page.get_by_label("File").set_input_files([{"name": "a.docx", "mimeType": "", "buffer": word_file()}])
    page.get_by_label("Into the language").fill("German")
    page.get_by_label("From the language").fill("English")
    page.get_by_role("button", name="Start").click()
    with page.expect_download() as saved:
        page.get_by_role("link", name="Download a.de.docx").click()
    assert saved.value.suggested_filename == "a.de.docx"
    document = docx.Document(io.BytesIO(saved.value.path().read_bytes()))
    assert any("Satz" in paragraph.text for paragraph in document.paragraphs)


def test_a_program_of_the_answer_takes_a_file_and_gives_one(open_page: Open, scripted: Scripted, watch: Watch) -> None:
    def reply(body: dict[str, Any]) -> Any:
        if any(message["role"] == "tool" for message in body["messages"]):
            return "It is there." if "42" in body["messages"][-1]["content"] else "It is not there."
        code = "open('out.txt', 'w').write(open('in.txt').read()); print(open('in.txt').read())"
        return [{"name": "run_python", "arguments": {"code": code}}] if body.get("tools") else "No tools."

    scripted.reply = reply
    page = open_page(locale="fr-FR")
    field = page.get_by_role("textbox", name="Message")
    drop = """(box) => {
        const data = new DataTransfer();
        data.items.add(new File(['42'], 'in.txt'));
        for (const type of ['dragover', 'drop'])
            box.dispatchEvent(new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true }));
    }"""
    page.locator(".composer").evaluate(drop)
    expect(page.get_by_role("list", name="Fichiers joints")).to_contain_text("in.txt")
    tools = page.get_by_role("button", name="Outils")
    expect(tools).to_have_attribute("aria-pressed", "true")
    field.fill("Est-ce 42 ?")
    field.press("Enter")
    finished(page)
    assert answers(page) == ["It is there."]
    expect(page.get_by_role("list", name="Fichiers joints")).to_have_count(0)
    with page.expect_download() as saved:
        page.get_by_role("link", name="out.txt").click()
    assert saved.value.path().read_text() == "42"
    # By keyboard alone: tools are switched off, and the model answers by itself.
    tools.focus()
    page.keyboard.press("Space")
    expect(tools).to_have_attribute("aria-pressed", "false")
    field.fill("Et maintenant ?")
    field.press("Enter")
    finished(page, 2)
    assert answers(page)[1] == "No tools."
