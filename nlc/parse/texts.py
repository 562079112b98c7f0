"""Bytes of a file -> a `Source`: bounded in size, UTF-8, without characters that hide or turn text around."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

from nlc.codes import parse as codes
from nlc.diagnostics import CompileError
from nlc.source import Source, Span

LARGEST_TEXT = 2**20
"""Bytes of UTF-8."""

FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Control, format (bidirectional marks, zero widths), lone surrogates, line and paragraph separators."""

ALLOWED_CONTROLS = frozenset("\t\n\r")
LONE_RETURN = re.compile(r"\r(?!\n)")
BYTE_ORDER_MARK = "\ufeff"


def source_of(text: str, name: str) -> Source:
    """The text as a source called `name`; raises CompileError when it is too large or holds forbidden characters."""
    if len(text.encode("utf-8", "surrogatepass")) > LARGEST_TEXT:
        raise CompileError(codes.too_large(start_of(Source(name, "")), LARGEST_TEXT))
    source = Source(name, text.removeprefix(BYTE_ORDER_MARK))
    offset = forbidden_character(source.text)
    if offset is not None:
        character = source.text[offset]
        known_as = unicodedata.name(character, "control character")
        raise CompileError(codes.forbidden_character(Span(source, offset, offset + 1), f"U+{ord(character):04X}", known_as))
    return source


def read_source(path: Path, name: str) -> Source:
    """The file as a source; raises CompileError when it is no readable regular UTF-8 file of bounded size."""
    nowhere = start_of(Source(name, ""))
    try:
        if not path.is_file():
            raise CompileError(codes.unreadable(nowhere, "it is no regular file" if path.exists() else "it does not exist"))
        with path.open("rb") as file:
            content = file.read(LARGEST_TEXT + 1)
        text = content.decode("utf-8", "strict" if len(content) <= LARGEST_TEXT else "ignore")
    except UnicodeDecodeError as error:
        raise CompileError(codes.unreadable(nowhere, f"byte {error.start} is not UTF-8")) from None
    except OSError as error:
        raise CompileError(codes.unreadable(nowhere, (error.strerror or "unknown reason").lower())) from None
    except ValueError:
        raise CompileError(codes.unreadable(nowhere, "its name is not a path")) from None
    if len(content) > LARGEST_TEXT:
        raise CompileError(codes.too_large(nowhere, LARGEST_TEXT))
    return source_of(text, name)


def start_of(source: Source) -> Span:
    """The place to point at when a whole text is meant."""
    return Span(source, 0, 0)


def forbidden_character(text: str) -> int | None:
    """The offset of the first character that no spec may hold, or None; a carriage return counts unless a line feed follows."""
    bad = frozenset(character for character in set(text) if _is_forbidden(character))
    for offset, character in enumerate(text if bad else ""):
        if character in bad:
            return offset
    lone_return = LONE_RETURN.search(text)
    return lone_return.start() if lone_return else None


def _is_forbidden(character: str) -> bool:
    return character not in ALLOWED_CONTROLS and unicodedata.category(character) in FORBIDDEN_CATEGORIES
