"""Letters and words: the atoms of the normal form.

A letter is a matrix (a vector is n x 1) of which only the ring axioms are known, or one of the few that `words` understands: all ones, an
elementwise product, a diagonal matrix. A scalar letter commutes with everything. A word is a product of letters.
"""

from __future__ import annotations

from collections.abc import Iterable
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
class MatrixInverse:
    """The inverse of a square matrix, known by what it is the inverse of."""

    of: Polynomial


@dataclass(frozen=True, slots=True)
class Unknown:
    """Something of which nothing but its name is known."""


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


Meaning = Atom | Function | Root | Inverse | MatrixInverse | Unknown | Ones | Product | Diagonal | Inner | Trace


@dataclass(frozen=True, slots=True)
class Letter:
    """A matrix known by its text, which spells out without ambiguity everything it is made of."""

    text: str
    transposed: bool = False
    rows: Dim = field(default=UNIT, compare=False)
    columns: Dim = field(default=UNIT, compare=False)
    meaning: Meaning = field(default=Unknown(), compare=False, repr=False)

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
        return product_letter(merged_entries(flipped), letter.columns, letter.rows)
    return Letter(letter.text, not letter.transposed, letter.columns, letter.rows, letter.meaning)


def flip_word(word: Word) -> Word:
    """The transposed word."""
    return tuple(flip(letter) for letter in reversed(word))


def merged_entries(entries: Iterable[Entry]) -> Entries:
    """The entries in canonical order, equal words together."""
    exponents: dict[Word, int] = {}
    for word, exponent in entries:
        exponents[word] = exponents.get(word, 0) + exponent
    return tuple(sorted(((word, exponent) for word, exponent in exponents.items() if exponent), key=lambda entry: word_text(entry[0])))


def product_letter(entries: Entries, rows: Dim, columns: Dim) -> Letter:
    """The elementwise product of merged entries as one letter."""
    return Letter(f"had[{entries_text(entries)}]", False, rows, columns, Product(entries))


def entries_text(entries: Entries) -> str:
    """The name of merged entries, which no others share."""
    return ", ".join(f"{word_text(word)}^{exponent}" for word, exponent in entries)
