"""Code: written, fixed, explained, translated, made faster; what can be run is run before it is believed."""

from colosse.assistant.code.fix import fix
from colosse.assistant.code.form import check_syntax, extract
from colosse.assistant.code.languages import LANGUAGES, language_of_file, parse_code_language, title_of
from colosse.assistant.code.optimize import optimize
from colosse.assistant.code.write import write

__all__ = [
    "LANGUAGES",
    "check_syntax",
    "extract",
    "fix",
    "language_of_file",
    "optimize",
    "parse_code_language",
    "title_of",
    "write",
]
