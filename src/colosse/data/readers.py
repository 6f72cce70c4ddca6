"""Files to documents: text, web pages, source code, JSON lines (plain, gzip, zstandard), parquet."""

from __future__ import annotations

import gzip
import io
import lzma
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import orjson

from colosse.core.errors import UserError
from colosse.data.document import Document

HTML = {".html", ".htm", ".xhtml"}
TEXT = {".txt", ".text", ".md", ".markdown", ".rst", ".tex", ".org", ".adoc"}
CODE = {
    *(".py", ".pyi", ".js", ".mjs", ".jsx", ".ts", ".tsx", ".java", ".c", ".h", ".cc", ".cpp", ".hpp", ".cu", ".cs"),
    *(".go", ".rs", ".rb", ".php", ".swift", ".kt", ".scala", ".r", ".jl", ".lua", ".pl", ".sh", ".bash", ".sql"),
    *(".css", ".scss", ".vue", ".hs", ".ml", ".ex", ".erl", ".clj", ".zig", ".dart", ".toml", ".yaml", ".yml", ".ini"),
}
ROWS = {".jsonl", ".ndjson"}
COMPRESSED = {".gz", ".zst"}
IN_BRACES = re.compile(r"\{([^{}\s]+)\}")
LONGEST = 32 << 20
"""Bytes of a text file that make one document at most: memory stays fixed whatever is thrown at it."""


class UnreadableError(UserError):
    """A file or a row cannot be read; one among many is counted and passed over."""

    code = "unreadable"


def kind_of(path: Path) -> str:
    """`text`, `html`, `rows`, `parquet`, or empty for a file that a folder's listing passes over."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSED:
        suffixes.pop()
    last = suffixes[-1] if suffixes else ""
    if last in ROWS:
        return "rows"
    if last == ".parquet":
        return "parquet"
    if last in HTML:
        return "html"
    return "text" if last in TEXT or last in CODE else ""


def lines(path: Path) -> Iterator[bytes]:
    """Lines of a file that may be compressed, those of white space alone left out.

    Raises:
        UnreadableError: the file is missing or damaged.
    """
    try:
        with _open(path) as file:
            yield from (line for line in file if not line.isspace())
    except (EOFError, zlib.error, OSError) as error:
        raise UnreadableError(f"cannot read {path}: {error}", hint="check the path") from None


def is_compressed(path: Path) -> bool:
    """Whether a file can only be read from its beginning."""
    return path.suffix.lower() in COMPRESSED


def read(path: Path, name: str, field: str, start: int = 0, stop: int = 0) -> Iterator[Document | UnreadableError]:
    """Documents of a file, in order; an error in place of a row that is none.

    Args:
        path: the file.
        name: what its documents are called.
        field: the source's `text_field`.
        start: first byte (`rows`) or row group (`parquet`) of the part that is wanted.
        stop: its end; 0 for all.

    Raises:
        UnreadableError: the file is missing, binary, damaged or in another encoding.
    """
    kind = kind_of(path) or "text"
    try:
        if kind == "parquet":
            yield from _parquet(path, name, field, start, stop)
        elif kind == "rows":
            yield from _rows(path, name, field, start, stop)
        else:
            yield from _text(path, name, html=kind == "html")
    except UnicodeDecodeError as error:
        raise UnreadableError(
            f"{path} is not UTF-8 text (byte {error.object[error.start]:#04x} where a character should begin)",
            hint=f"convert it, for example: iconv -f latin1 -t utf-8 {path.name}",
        ) from None
    except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
        raise UnreadableError(f"{path} is damaged: {error}", hint="fetch it again") from None
    except OSError as error:
        raise UnreadableError(f"cannot read {path}: {error.strerror or error}", hint="check the path") from None


def _open(path: Path) -> IO[bytes]:
    suffix = path.suffix.lower()
    if suffix == ".gz":
        return gzip.open(path, "rb")  # type: ignore[return-value]  # a GzipFile reads as any binary file
    if suffix == ".zst":
        import zstandard

        return io.BufferedReader(_Zstd(zstandard.open(path, "rb"), zstandard.ZstdError), 1 << 20)
    return path.open("rb")


class _Zstd(io.RawIOBase):
    """A zstandard stream whose damage is an `EOFError`, as that of gzip."""

    def __init__(self, stream: Any, failure: type[Exception]) -> None:
        self._stream, self._failure = stream, failure

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            return int(self._stream.readinto(buffer))
        except self._failure as error:
            raise EOFError(str(error)) from None

    def close(self) -> None:
        self._stream.close()
        super().close()


def _text(path: Path, name: str, *, html: bool) -> Iterator[Document]:
    with _open(path) as file:
        number = 0
        rest = b""
        while block := file.read(LONGEST - len(rest)):
            data = rest + block
            if b"\0" in data[:65536] and data[:2] not in (b"\xff\xfe", b"\xfe\xff"):
                raise UnreadableError(f"{path} is binary, not text", hint="leave it out of the source's paths")
            rest = b""
            if len(data) >= LONGEST:  # cut at the end of a paragraph, else of a line, else anywhere between characters
                cut = data.rfind(b"\n\n", LONGEST // 2) + 2 if data.rfind(b"\n\n", LONGEST // 2) > 0 else 0
                cut = cut or data.rfind(b"\n", LONGEST // 2) + 1 or _between_characters(data)
                data, rest = data[:cut], data[cut:]
            text = data.decode("utf-16") if data[:2] in (b"\xff\xfe", b"\xfe\xff") else data.decode("utf-8-sig")
            yield Document(text, f"{name}:{number}" if number or rest else name, html=html)
            number += 1
        if rest:
            yield Document(rest.decode(), f"{name}:{number}", html=html)


def _between_characters(data: bytes) -> int:
    cut = len(data)
    while cut and data[cut - 1] & 0xC0 == 0x80:
        cut -= 1
    return cut - 1 if cut else len(data)


def _rows(path: Path, name: str, field: str, start: int, stop: int) -> Iterator[Document | UnreadableError]:
    """Rows that begin in [start, stop): parts that meet share no row and miss none."""
    with _open(path) as file:
        place = 0
        if start:
            file.seek(start - 1)
            place = start - 1 + len(file.readline())
        while not stop or place < stop:
            line = file.readline()
            if not line:
                return
            row = f"{name}:{place}"
            place += len(line)
            if line.isspace():
                continue
            try:
                value = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                yield UnreadableError(f"{path}, row at byte {place - len(line)}: not JSON: {error}")
                continue
            yield document_of(value, field, row)


def _parquet(path: Path, name: str, field: str, start: int, stop: int) -> Iterator[Document | UnreadableError]:
    import pyarrow
    import pyarrow.parquet

    columns = sorted({part.split(".")[0] for part in fields_of(field)})
    try:
        file = pyarrow.parquet.ParquetFile(path)
        for column in columns:
            if column not in file.schema_arrow.names:
                raise UnreadableError(
                    f"{path} has no column {column!r}",
                    hint=f"text_field = one of: {', '.join(file.schema_arrow.names)}",
                )
        groups = range(start, stop or file.num_row_groups)
        row = sum(file.metadata.row_group(group).num_rows for group in range(start))
        for batch in file.iter_batches(batch_size=256, row_groups=list(groups), columns=columns):
            for value in batch.to_pylist():
                yield document_of(value, field, f"{name}:{row}")
                row += 1
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError) as error:
        raise UnreadableError(f"{path} is not a parquet file, or a damaged one: {error}") from None


def fields_of(field: str) -> list[str]:
    """The fields that a source's `text_field` names: itself, or those in braces."""
    return IN_BRACES.findall(field) or [field]


def document_of(row: Any, field: str, name: str) -> Document | UnreadableError:
    """The text of a row (decoded JSON), or why there is none."""
    values: dict[str, str] = {}
    for dotted in fields_of(field):
        value = row
        for part in dotted.split("."):
            if not isinstance(value, dict) or part not in value:
                known = ", ".join(sorted(map(str, value))) if isinstance(value, dict) else type(value).__name__
                return UnreadableError(
                    f"{name}: no field {dotted!r}", hint=f"set the source's text_field; the row has: {known}"
                )
            value = value[part]
        if not isinstance(value, str):
            return UnreadableError(f"{name}: field {dotted!r} is {type(value).__name__}, not text")
        values[dotted] = value
    text = values[field] if field in values else IN_BRACES.sub(lambda found: values[found[1]], field)
    begin = text[:256].lstrip()[:14].lower()
    return Document(text, name, html=begin.startswith(("<!doctype html", "<html")))
