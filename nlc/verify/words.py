"""Products of matrices as words: letters side by side, with everything that is really a scalar pulled out of them.

A letter is a matrix (a vector is n x 1) of which only the ring axioms are known, or one of the few that these rules
understand: all ones, an elementwise product, a diagonal matrix. A word is cut at its borders of dimension 1; what lies between two such
borders is a scalar, equal to its transpose, and commutes. Traces are equal under rotation too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nlc.ir.algebra import Expr
from nlc.ir.dims import Dim

if TYPE_CHECKING:
    from nlc.verify.polynomial import Polynomial

UNIT = Dim.number(1)

Word = tuple["Letter", ...]
"""A product of letters; the empty word is the identity, or the number one."""

Entry = tuple[Word, int]
"""A word and its elementwise exponent."""

Entries = tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Atom:
    """A leaf of an expression."""

    node: Expr


@dataclass(frozen=True, slots=True)
class Function:
    """A function that is only known to give equal values for equal arguments; `node` is one that applies it."""

    node: Expr
    arguments: tuple[Polynomial, ...]


@dataclass(frozen=True, slots=True)
class Root:
    """The elementwise square root of a polynomial."""

    square: Polynomial


@dataclass(frozen=True, slots=True)
class Inverse:
    """One over a polynomial, elementwise."""

    of: Polynomial


@dataclass(frozen=True, slots=True)
class Ones:
    """The column of ones."""


@dataclass(frozen=True, slots=True)
class Product:
    """The elementwise product of words of one shape."""

    entries: Entries


@dataclass(frozen=True, slots=True)
class Diagonal:
    """The diagonal matrix of an elementwise product of vectors."""

    entries: Entries


@dataclass(frozen=True, slots=True)
class Inner:
    """A word from a row to a column: a scalar."""

    word: Word


@dataclass(frozen=True, slots=True)
class Trace:
    """The trace of a word."""

    word: Word


Meaning = Atom | Function | Root | Inverse | Ones | Product | Diagonal | Inner | Trace


@dataclass(frozen=True, slots=True)
class Letter:
    """A matrix known by its text, which spells out without ambiguity everything it is made of."""

    text: str
    transposed: bool = False
    rows: Dim = field(default=UNIT, compare=False)
    columns: Dim = field(default=UNIT, compare=False)
    meaning: Meaning = field(default=Ones(), compare=False, repr=False)

    @property
    def is_scalar(self) -> bool:
        return self.rows == UNIT and self.columns == UNIT


Scalar = Letter | Dim
"""A commuting factor: a scalar letter, or the size of a dim."""


def ones(dim: Dim) -> Letter:
    """The column of ones."""
    return Letter(f"ones({dim})", False, dim, UNIT, Ones())


def word_text(word: Word) -> str:
    """The word's name: equal words have equal texts and no others do."""
    return " ".join(f"{letter.text}'" if letter.transposed else letter.text for letter in word)


def flip(letter: Letter) -> Letter:
    """The transposed letter."""
    if isinstance(letter.meaning, Diagonal) or letter.is_scalar:
        return letter
    if isinstance(letter.meaning, Product) and letter.columns != UNIT and letter.rows != UNIT:
        flipped = tuple((flip_word(word), exponent) for word, exponent in letter.meaning.entries)
        return _product_letter(merged_entries(flipped), letter.columns, letter.rows)
    return Letter(letter.text, not letter.transposed, letter.columns, letter.rows, letter.meaning)


def flip_word(word: Word) -> Word:
    """The transposed word."""
    return tuple(flip(letter) for letter in reversed(word))


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
    return (_product_letter(merged, dim, UNIT),)


def diagonal(entries: Entries, dim: Dim) -> Word:
    """The diagonal matrix of an elementwise product of columns; of no columns it is the identity."""
    merged = merged_entries(entries)
    return (Letter(f"diag[{_entries_text(merged)}]", False, dim, dim, Diagonal(merged)),) if merged else ()


def entries_of(word: Word, exponent: int = 1) -> Entries:
    """The elementwise factors of a column, or of a matrix without diagonal factors."""
    match word:
        case (Letter(meaning=Ones()),):
            return ()
        case (Letter(meaning=Product(entries)),):
            return _raised(entries, exponent)
    return ((word, exponent),)


def merged_entries(entries: Iterable[Entry]) -> Entries:
    """The entries in canonical order, equal words together."""
    exponents: dict[Word, int] = {}
    for word, exponent in entries:
        exponents[word] = exponents.get(word, 0) + exponent
    return tuple(sorted(((word, exponent) for word, exponent in exponents.items() if exponent), key=lambda entry: word_text(entry[0])))


def _vector_sum(entries: Entries, dim: Dim) -> tuple[Scalar, ...]:
    merged = merged_entries(entries)
    match _repeated(merged):
        case ():
            return (dim,)
        case (word,):
            return _inner((flip(ones(dim)), *word))
        case (first, second):
            return _inner(flip_word(first) + second)
    return (_inner_letter((flip(ones(dim)), _product_letter(merged, dim, UNIT))),)


def _core(cores: Entries, rows: Dim, columns: Dim) -> Word:
    merged = merged_entries(cores)
    match merged:
        case ((word, 1),):
            return word
    return (_product_letter(merged, rows, columns),)


def _repeated(entries: Entries) -> tuple[Word, ...] | None:
    """Every word as often as its exponent says; None for a negative exponent."""
    if any(exponent < 0 for _, exponent in entries):
        return None
    return tuple(word for word, exponent in entries for _ in range(exponent))


def _product_letter(entries: Entries, rows: Dim, columns: Dim) -> Letter:
    return Letter(f"had[{_entries_text(entries)}]", False, rows, columns, Product(entries))


def _raised(entries: Entries, exponent: int) -> Entries:
    return tuple((word, power * exponent) for word, power in entries)


def _entries_text(entries: Entries) -> str:
    return ", ".join(f"{word_text(word)}^{exponent}" for word, exponent in entries)
