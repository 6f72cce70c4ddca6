"""What documents are made of as others read them: none of the code under test is used here."""

from __future__ import annotations

import html.parser
import io
import json
import re
import xml.etree.ElementTree as ElementTree
import zipfile
from collections import Counter
from typing import Any

import polib
from markdown_it import MarkdownIt

_PLACEHOLDER = re.compile(r"\{\{\w+\}\}|%\(\w+\)[sd]|%[sd]|\$\{\w+\}|\{\w*\}|[\U0001f300-\U0001faff]\u200d?")
_READ = {"title", "alt", "placeholder", "aria-label"}
"""Attributes that people read."""


def held(text: str) -> list[str]:
    """Placeholders and emoji."""
    return sorted(_PLACEHOLDER.findall(text))


def markdown(text: str) -> list[Any]:
    """Blocks in order; of a paragraph, what is no word."""
    text = text.removeprefix("\ufeff")
    found: list[Any] = []
    if front := re.match(r"---\n(.*?)\n---\n", text, re.DOTALL):
        found.append([line.partition(":")[0] for line in front[1].split("\n")])
        text = text[front.end() :]
    for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text):
        if token.type == "inline":
            inline: Counter[str] = Counter()
            for child in token.children or []:
                inline.update(held(child.content) if child.type in ("text", "image") else [_span(child)])
                if child.type == "image":
                    inline[f"image {child.attrs['src']}"] += 1
            found.append(inline)
        elif token.type == "html_block":
            found.append(html_tags(token.content))
        else:
            code = token.content if token.type in ("fence", "code_block") else ""
            found.append((token.type, token.tag, token.markup, token.info, token.level, dict(token.attrs), code))
    return found


def _span(token: Any) -> str:
    if token.type == "html_inline":
        return str(html_tags(token.content))
    return f"{token.type} {token.markup} {token.attrs.get('href', '')} {token.content}"


class _Tags(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[Any] = []
        self.raw: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {"content"} if ("name", "description") in attrs else _READ
        language = {"lang"} if tag == "html" else set()
        values = {name: "" if name in said | language else value for name, value in attrs}
        self.found.append((tag, values))
        if tag in ("script", "style", "pre", "code", "textarea", "template") or values.get("translate") == "no":
            self.raw.append(tag)

    def handle_endtag(self, tag: str) -> None:
        self.found.append(f"/{tag}")
        if self.raw and self.raw[-1] == tag:
            self.raw.pop()

    def handle_data(self, data: str) -> None:
        self.found += [data] if self.raw else held(data)

    def handle_comment(self, data: str) -> None:
        self.found.append(f"comment {data}")

    def handle_decl(self, decl: str) -> None:
        self.found.append(decl)


_INLINE = {"a", "b", "i", "em", "strong", "code", "br", "img", "span", "sub", "kbd", "abbr"}


def html_tags(text: str) -> list[Any]:
    """Tags and what is kept between them: within a run of text in any order."""
    reader = _Tags()
    reader.feed(text)
    reader.close()
    found: list[Any] = []
    run: list[str] = []
    for item in reader.found:
        name = item[0] if isinstance(item, tuple) else item.removeprefix("/")
        if (isinstance(item, str) and not item.startswith("/")) or name in _INLINE:
            run.append(str(item))
        else:
            found += [sorted(run), item]
            run = []
    return [*found, sorted(run)]


def subtitles(text: str) -> list[Any]:
    """Blocks: all lines but the words, of which only tags and placeholders."""
    found: list[Any] = []
    for block in re.split(r"\n{2,}", text.removeprefix("\ufeff").replace("\r\n", "\n")):
        lines = block.split("\n")
        timing = next((index for index, line in enumerate(lines) if "-->" in line), len(lines))
        said = lines[timing + 1 :]
        tags = Counter(re.findall(r"<[^>]*>|\{[^}]*\}|&\w+;", "\n".join(said)))
        found.append((lines[: timing + 1], len(said), tags))
    return found


def catalogue(text: str) -> list[Any]:
    """Messages as gettext reads them."""
    return [
        (
            entry.msgctxt,
            entry.msgid,
            entry.msgid_plural,
            entry.flags,
            entry.comment,
            entry.tcomment,
            entry.occurrences,
            entry.obsolete,
            entry.previous_msgid,
            sorted(entry.msgstr_plural),
            _said(entry),
        )
        for entry in polib.pofile(text.removeprefix("\ufeff"))
    ]


def _said(entry: polib.POEntry) -> list[str]:
    wanted = {tuple(held(entry.msgid)), tuple(held(entry.msgid_plural))}
    texts = [entry.msgstr, *entry.msgstr_plural.values()]
    return [text for text in texts if text and tuple(held(text)) not in wanted]


def values(text: str) -> Any:
    """JSON with its keys in order; of texts, the placeholders and line breaks; of ICU messages their frame."""

    def bones(value: Any) -> Any:
        if isinstance(value, str):
            icu = re.findall(r"\{\w+, *(?:plural|select),|(?:=\d|one|few|other|male) \{|#|\}", value)
            return (
                (icu, value.count("\n"))
                if ", plural," in value or ", select," in value
                else [held(value), value.count("\n")]
            )
        return [bones(item) for item in value] if isinstance(value, list) else value

    layout = re.sub(r'"(?:[^"\\]|\\.)*"', '""', text)
    pairs = json.loads(text.removeprefix("\ufeff"), object_pairs_hook=lambda found: [[k, bones(v)] for k, v in found])
    return [layout, bones(pairs)]


def xliff(text: str) -> list[Any]:
    """Elements; a target must hold what its source holds."""
    found: list[Any] = []
    for element in ElementTree.fromstring(text.removeprefix("\ufeff")).iter():
        name = element.tag.rpartition("}")[2]
        if name in ("trans-unit", "segment"):
            source, target = (
                next((e for e in element if e.tag.endswith(f"}}{n}")), None) for n in ("source", "target")
            )
            assert source is not None
            same = target is None or not "".join(target.itertext()).strip() or _spans(source) == _spans(target)
            found.append((name, element.attrib, same))
        elif name in ("source", "note", "file"):
            language = {k: v for k, v in element.attrib.items() if k != "target-language"}
            found.append((name, language, "".join(element.itertext()) if name != "file" else ""))
    return found


def _spans(element: ElementTree.Element) -> list[str]:
    inner = [f"{e.tag} {sorted(e.attrib.items())}" for e in element.iter() if e is not element]
    return sorted([*inner, *held("".join(element.itertext()))])


def word(data: bytes) -> list[Any]:
    """Parts of the package; of texts, the elements around them."""
    found: list[Any] = []
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in archive.namelist():
            content = archive.read(name)
            if re.fullmatch(r"word/(?:document|header\d|footer\d|footnotes)\.xml", name):
                root = ElementTree.fromstring(content)
                found += [
                    (e.tag, {k: v for k, v in e.attrib.items() if not k.endswith("}space")})
                    for e in root.iter()
                    if not e.tag.endswith("}t")
                ]
            else:
                found.append((name, content))
    return found
