"""Text from outside, as it may stand in a prompt: it speaks in no role, and what gives orders to machines is known.

What a chat template would take for the beginning or the end of somebody's turn, or for a call of a tool, is written
with other brackets; characters that nobody sees are left out.
"""

from __future__ import annotations

import re

_ROLES = re.compile(
    r"<(\s*[|｜][^<>\n]{0,60}[|｜]\s*)>"
    r"|<(\s*/?\s*(?:s|system|user|assistant|human|developer|think|tools?|tool_calls?|tool_response|tool_result|invoke"
    r"|function_calls?|start_of_turn|end_of_turn|start_header_id|end_header_id|bos|eos|im_start|im_end)\s*)>"
    r"|<(<\s*/?\s*SYS\s*>)>|\[(\s*/?\s*(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\s*)\]",
    re.IGNORECASE,
)
_ORDERS = re.compile(
    r"\b(?:ignore|disregard|forget|override)\b.{0,40}\b(?:instructions?|prompts?|rules|sources|questions?)\b"
    r"|\b(?:system|developer) (?:prompt|message)\b|\b(?:new|following|hidden|secret) instructions\b"
    r"|\byou (?:must|should|will|are to)(?: now| only| always)+ (?:answer|reply|respond|output|say|repeat|write)\b"
    r"|\b(?:answer|reply|respond)(?: only| instead)+\b|\b(?:end|begin|start) your (?:answer|reply|response)\b"
    r"|\b(?:to|in|of) (?:each|your|the) (?:answer|reply|sentence)s?\b.{0,20}!\[|\btell the (?:user|reader)\b"
    r"|\byou are (?:now )?(?:an? )?(?:AI|assistant|chatbot|(?:large )?language model)\b"
    r"|\b(?:ignor|oubli)\w+.{0,40}\b(?:instructions?|consignes?|règles)\b|\b(?:prompt|invite|message) système\b"
    r"|\b(?:tu dois|vous devez)(?: maintenant| seulement| uniquement)+ (?:répondre|écrire|dire|répéter)\b"
    r"|\brépond(?:s|ez)(?: seulement| uniquement)+\b|\bnouvelles (?:instructions|consignes)\b"
    r"|\b(?:tu es|vous êtes) (?:maintenant )?une? (?:IA|assistante?|modèle de langage)\b",
    re.IGNORECASE | re.DOTALL,
)
_INVISIBLE = re.compile("[\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\U000e0000-\U000e007f]")


def neutral(text: str) -> str:
    """`text` without invisible characters, and with the marks of roles in other brackets."""
    text = _INVISIBLE.sub("", text)
    return _ROLES.sub(lambda found: f"‹{next(inner for inner in found.groups() if inner)}›", text)


def gives_orders(text: str) -> bool:
    """Whether a paragraph speaks to a model that reads it: in words often used for it, or in marks of roles.

    What is put in other words is not found; what merely tells of such orders is.
    """
    text = _INVISIBLE.sub("", text)
    return _ORDERS.search(text) is not None or _ROLES.search(text) is not None
