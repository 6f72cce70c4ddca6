"""GGUF headers: what they say, and that nothing wrong gets through or crashes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from colosse.core.errors import NotFoundError, UserError
from colosse.engines.gguf import read_gguf
from tests.fixtures.web import make_gguf

WHOLE = make_gguf(256)
HEADER = len(WHOLE) - 256


def read(path: Path, data: bytes) -> object:
    path.write_bytes(data)
    return read_gguf(path)


def test_a_header_is_read(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(WHOLE)
    info = read_gguf(path)
    assert (info.architecture, info.context_length, info.num_layers) == ("llama", 2048, 2)
    assert (info.num_kv_heads, info.head_dim, info.vocab_size) == (2, 16, 3)
    assert (info.file_type, info.chat_template, info.num_splits) == ("Q4_K_M", "{{ messages }}", 1)
    assert info.kv_bytes_per_token == 2 * 2 * (16 + 16) * 2
    assert info.size_bytes == len(WHOLE)


def test_a_base_model_has_no_template(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(make_gguf(64, template=None))
    assert read_gguf(path).chat_template is None


@pytest.mark.model
def test_a_real_file(smollm2: Path) -> None:
    info = read_gguf(smollm2)
    assert (info.architecture, info.context_length, info.num_layers) == ("llama", 8192, 30)
    assert (info.num_kv_heads, info.head_dim, info.vocab_size, info.file_type) == (3, 64, 49152, "Q4_1")
    assert info.kv_bytes_per_token == 23_040
    assert info.chat_template is not None


@pytest.mark.model
def test_a_real_file_cut_short_by_one_byte(smollm2: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(smollm2.read_bytes()[:-1])
    with pytest.raises(UserError, match="it has 98362431 of 98362432 bytes"):
        read_gguf(path)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"GG", "not a GGUF model"),
        (b"<html>", "begins with b'<htm'"),
        (b"GGUF", "header does not end"),
        (b"GGUF\x01" + WHOLE[5:], "version 1"),
        (b"GGUF\x00\x00\x00\x03" + WHOLE[8:], "version 50331648"),  # written by a big-endian machine
    ],
)
def test_what_is_no_model_is_named(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(UserError, match="pull the model again") as caught:
        read(tmp_path / "m.gguf", data)
    assert words in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no file"):
        read_gguf(tmp_path / "none.gguf")


def test_every_beginning_of_a_model_is_recognised_as_cut(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    for length in range(len(WHOLE)):
        with pytest.raises(UserError):
            read(path, WHOLE[:length])
    read(path, WHOLE)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(4, HEADER - 1), value=st.integers(0, 255))
def test_a_damaged_header_is_an_error_or_other_values_never_a_crash(tmp_path: Path, position: int, value: int) -> None:
    data = bytearray(WHOLE)
    data[position] = value
    try:
        read(tmp_path / "m.gguf", bytes(data))
    except UserError as error:
        assert str(tmp_path) in str(error)
