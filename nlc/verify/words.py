"""Products of letters in canonical form, with everything that is really a scalar pulled out of them.

A word is cut at its borders of dimension 1; what lies between two such borders is a scalar, equal to its transpose, and commutes. Traces
are equal under rotation too. Elementwise products distribute over columns times rows and over diagonal factors.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nlc.ir.dims import Dim
from nlc.verify.letters import (
    UNIT,
    Diagonal,
    Entries,
    Inner,
    Letter,
    Ones,
    Product,
    Scalar,
    Trace,
    Word,
    entries_text,
    flip,
    flip_word,
    merged_entries,
    ones,
    product_letter,
    word_text,
)  # fmt: skip

# --- products ----------------------------------------------------------------------------------------------------


def normal_word(word: Word) -> tuple[tuple[Scalar, ...], Word]:
    """The scalars inside a word, and what is left: a matrix, a column, a row, or a column times a row."""
    scalars: list[Scalar] = []
    kept: Word = ()
    for segment in _segments(word):
        starts_at_unit, ends_at_unit = segment[0].rows == UNIT, segment[-1].columns == UNIT
        if starts_at_unit and ends_at_unit:
            scalars.extend(_inner(segment))
        elif ends_at_unit:
            kept += _column(segment)
        elif starts_at_unit:
            kept += flip_word(_column(flip_word(segment)))
        else:
            kept += _matrix(segment)
    return tuple(scalars), kept


def trace(word: Word, dim: Dim) -> tuple[Scalar, ...]:
    """The trace of a square word (of size `dim` when it is empty)."""
    if not word:
        return (dim,)
    cut = next((index + 1 for index, letter in enumerate(word) if letter.columns == UNIT), None)
    if cut is not None:
        return normal_word(word[cut:] + word[:cut])[0]
    word = _matrix(word)
    while len(word) > 1 and isinstance(word[0].meaning, Diagonal) and isinstance(word[-1].meaning, Diagonal):
        word = _matrix(word[1:] + word[:1])
    match word[0].meaning:
        case Diagonal(entries) if len(word) == 1:
            return _vector_sum(entries, dim)
    turns = (turned[index:] + turned[:index] for turned in (word, flip_word(word)) for index in range(len(word)))
    word = min(turns, key=word_text)
    for index, letter in enumerate(word):
        if isinstance(letter.meaning, Product):  # tr(H W) is the sum of the entries of H^T times those of W
            rest = word[index + 1 :] + word[:index]
            factors = elements((flip(letter),), 1, letter.rows) + elements(rest, 1, letter.rows)
            return entry_sum(factors, letter.columns, letter.rows)
    return (Letter(f"tr[{word_text(word)}]", meaning=Trace(word)),)


def _segments(word: Word) -> Iterator[Word]:
    """The word, cut after every border of dimension 1."""
    start = 0
    for index, letter in enumerate(word, 1):
        if letter.columns == UNIT or index == len(word):
            yield word[start:index]
            start = index


def _matrix(word: Word) -> Word:
    """A word without borders of dimension 1, with neighbouring diagonal matrices multiplied."""
    merged: list[Letter] = []
    for letter in word:
        match (merged[-1].meaning if merged else None), letter.meaning:
            case Diagonal(left), Diagonal(right):
                merged[-1:] = diagonal(left + right, letter.rows)
            case _:
                merged.append(letter)
    return tuple(merged)


def _column(word: Word) -> Word:
    """A word that ends in a column: a diagonal matrix times a column is an elementwise product."""
    tail: Word = ()
    for letter in reversed(word):
        match letter.meaning:
            case Diagonal(entries) if tail:
                tail = vector_product(entries + entries_of(tail), letter.rows)
            case _:
                tail = (letter, *tail)
    return tail


def _inner(word: Word) -> tuple[Scalar, ...]:
    """A word from a row to a column, without borders of dimension 1 inside: a scalar, equal to its transpose."""
    word = _column(word)
    if len(word) == 1:
        return word
    word = min(word, flip_word(word), key=word_text)
    first, last = flip(word[0]), word[-1]
    match first.meaning, last.meaning:
        case _, Product(entries):
            return _vector_sum(entries + entries_of(flip_word(word[:-1])), last.rows)
        case Product(entries), _:
            return _vector_sum(entries + entries_of(word[1:]), first.rows)
        case Ones(), Ones() if len(word) == 2:
            return (last.rows,)
    return (_inner_letter(word),)


def _inner_letter(word: Word) -> Letter:
    return Letter(f"<{word_text(word)}>", meaning=Inner(word))


# --- elementwise products ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Elements:
    """diag(left) core diag(right), the core an elementwise product; without cores it is left right^T. A vector is all `left`."""

    left: Entries = ()
    cores: Entries = ()
    right: Entries = ()

    def __add__(self, other: Elements) -> Elements:
        return Elements(self.left + other.left, self.cores + other.cores, self.right + other.right)


def elements(word: Word, exponent: int, columns: Dim) -> Elements:
    """The elementwise factors of a word, raised to a power."""
    if columns == UNIT:
        return Elements(left=entries_of(word, exponent))
    cut = next((index + 1 for index, letter in enumerate(word) if letter.columns == UNIT), None)
    if cut is not None:
        return Elements(left=entries_of(word[:cut], exponent), right=entries_of(flip_word(word[cut:]), exponent))
    left: Entries = ()
    right: Entries = ()
    if word and isinstance(word[0].meaning, Diagonal):
        left, word = _raised(word[0].meaning.entries, exponent), word[1:]
    if word and isinstance(word[-1].meaning, Diagonal):
        right, word = _raised(word[-1].meaning.entries, exponent), word[:-1]
    return Elements(left, entries_of(word, exponent), right)


def elementwise(factors: Elements, rows: Dim, columns: Dim) -> Word:
    """The word of an elementwise product."""
    if columns == UNIT:
        return vector_product(factors.left, rows)
    if not merged_entries(factors.cores):
        return vector_product(factors.left, rows) + flip_word(vector_product(factors.right, columns))
    core = _core(factors.cores, rows, columns)
    return _matrix(diagonal(factors.left, rows) + core + diagonal(factors.right, columns))


def entry_sum(factors: Elements, rows: Dim, columns: Dim) -> tuple[Scalar, ...]:
    """The sum of all entries of an elementwise product."""
    if columns == UNIT:
        return _vector_sum(factors.left, rows)
    cores = merged_entries(factors.cores)
    if not cores:
        return _vector_sum(factors.left, rows) + _vector_sum(factors.right, columns)
    left, right = vector_product(factors.left, rows), vector_product(factors.right, columns)
    match _repeated(cores):
        case (first, second) if isinstance(left[0].meaning, Ones) and isinstance(right[0].meaning, Ones):
            return trace(flip_word(first) + second, columns)
    return _inner(flip_word(left) + _core(cores, rows, columns) + right)


def vector_product(entries: Entries, dim: Dim) -> Word:
    """The elementwise product of columns."""
    merged = merged_entries(entries)
    match merged:
        case ():
            return (ones(dim),)
        case ((word, 1),):
            return word
    return (product_letter(merged, dim, UNIT),)


def diagonal(entries: Entries, dim: Dim) -> Word:
    """The diagonal matrix of an elementwise product of columns; of no columns it is the identity."""
    merged = merged_entries(entries)
    return (Letter(f"diag[{entries_text(merged)}]", False, dim, dim, Diagonal(merged)),) if merged else ()


def entries_of(word: Word, exponent: int = 1) -> Entries:
    """The elementwise factors of a column, or of a matrix without diagonal factors."""
    match word:
        case (Letter(meaning=Ones()),):
            return ()
        case (Letter(meaning=Product(entries)),):
            return _raised(entries, exponent)
    return ((word, exponent),)


def _vector_sum(entries: Entries, dim: Dim) -> tuple[Scalar, ...]:
    merged = merged_entries(entries)
    match _repeated(merged):
        case ():
            return (dim,)
        case (word,):
            return _inner((flip(ones(dim)), *word))
        case (first, second):
            return _inner(flip_word(first) + second)
    return (_inner_letter((flip(ones(dim)), product_letter(merged, dim, UNIT))),)


def _core(cores: Entries, rows: Dim, columns: Dim) -> Word:
    merged = merged_entries(cores)
    match merged:
        case ((word, 1),):
            return word
    return (product_letter(merged, rows, columns),)


def _repeated(entries: Entries) -> tuple[Word, ...] | None:
    """Every word as often as its exponent says; None for a negative exponent."""
    if any(exponent < 0 for _, exponent in entries):
        return None
    return tuple(word for word, exponent in entries for _ in range(exponent))


def _raised(entries: Entries, exponent: int) -> Entries:
    return tuple((word, power * exponent) for word, power in entries)
