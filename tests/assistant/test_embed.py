"""Sentence embeddings: a batch is each of its texts alone, on one thread."""

import numpy as np
import pytest
import threadpoolctl

from colosse.assistant import embed

TEXTS = [
    "",
    "un port",
    "The harbour was dredged in spring.",
    "ce que les pêcheurs pensent " * 40,
    "un port",
    "港口" * 9,
]


def test_together_as_alone():
    together = embed.encode(TEXTS)
    assert together.shape == (len(TEXTS), embed.DIM) and together.dtype == np.float32
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    for text, vector in zip(TEXTS, together, strict=True):
        assert np.allclose(embed.encode([text])[0], vector, atol=1e-5)
    assert embed.encode([]).shape == (0, embed.DIM)


def test_one_thread(monkeypatch: pytest.MonkeyPatch):
    threads = []
    backend = embed._model()._model
    real = backend._encode

    def watched(texts):
        threads.extend(pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas")
        return real(texts)

    monkeypatch.setattr(backend, "_encode", watched)
    embed.encode(TEXTS)
    assert threads and set(threads) == {1}
