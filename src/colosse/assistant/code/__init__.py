"""Code: written, fixed, explained, translated, made faster; what can be run is run before it is believed."""

from colosse.assistant.code.explain import Explanation, explain
from colosse.assistant.code.fix import FixResult, fix
from colosse.assistant.code.form import check_syntax, extract
from colosse.assistant.code.judge import CodeResult
from colosse.assistant.code.languages import LANGUAGES, language_of_file, parse_code_language, title_of
from colosse.assistant.code.optimize import OptimizeResult, optimize
from colosse.assistant.code.translate import translate_code
from colosse.assistant.code.write import write

__all__ = [
    "LANGUAGES",
    "CodeResult",
    "Explanation",
    "FixResult",
    "OptimizeResult",
    "check_syntax",
    "explain",
    "extract",
    "fix",
    "language_of_file",
    "optimize",
    "parse_code_language",
    "title_of",
    "translate_code",
    "write",
]
