"""Turns a normal form back into an expression, so that a person can read it."""

from __future__ import annotations

from nlc.ir.algebra import Compare, Expr, Eye, Named, Where
from nlc.ir.build import add, apply_map, constant, divide, dot, full, matmul, outer, power, rebuild, scale, spread, times, transpose
from nlc.ir.calculus import Inverse as MatrixInverted
from nlc.ir.dims import Dim, Shape
from nlc.ir.show import expression_text
from nlc.verify.letters import (
    UNIT,
    Atom,
    Diagonal,
    Entries,
    Function,
    Inner,
    Inverse,
    Letter,
    MatrixInverse,
    Ones,
    Product,
    Root,
    Trace,
    Unknown,
    Word,
    flip,
    flip_word,
)  # fmt: skip
from nlc.verify.polynomial import Factors, Monomial, Polynomial


def spelled_text(x: Polynomial) -> str:
    """The normal form in the spec language."""
    return expression_text(spelled(x))


def spelled(x: Polynomial) -> Expr:
    """An expression whose normal form is x, its simpler terms first."""
    terms = sorted(x.ordered, key=lambda monomial: (len(monomial[1]), len(monomial[0])))
    if not terms:
        return full(0, _shape(x.rows, x.columns))
    return add(*(_term(x, monomial) for monomial in terms))


def _shape(rows: Dim, columns: Dim) -> Shape:
    if columns != UNIT:
        return (rows, columns)
    return (rows,) if rows != UNIT else ()


def _term(x: Polynomial, monomial: Monomial) -> Expr:
    factors, word = monomial
    coefficient = constant(x.terms[monomial])
    above, below = _quotient(factors)
    if x.is_scalar:
        return scale(coefficient, divide(above, below))
    term = _word(word, x.rows, x.columns)
    scaled = scale(above, term)
    return scale(coefficient, divide(scaled, below))


def _quotient(factors: Factors) -> tuple[Expr, Expr]:
    """Numerator and denominator of a product of scalar letters."""
    above: Expr = constant(1)
    below: Expr = constant(1)
    for letter, exponent in sorted(factors, key=lambda item: not isinstance(item[0].meaning, Atom)):
        inverted = letter.meaning.of if isinstance(letter.meaning, Inverse) else None
        base = spelled(inverted) if inverted is not None else _letter(letter)
        raised = power(base, constant(abs(exponent)))
        if (exponent > 0) == (inverted is None):
            above = scale(above, raised)
        else:
            below = scale(below, raised)
    return above, below


def _word(word: Word, rows: Dim, columns: Dim) -> Expr:
    if not word:
        return Eye((rows, columns))
    if columns != UNIT and rows != UNIT:
        for index, letter in enumerate(word[:-1], 1):
            if letter.columns == UNIT:
                return outer(_word(word[:index], rows, UNIT), _word(flip_word(word[index:]), columns, UNIT))
    if rows == UNIT and columns != UNIT:
        if len(word) == 1 and (alone := _letter(word[0])).shape == (rows, columns):
            return alone
        return spread(_word(flip_word(word), columns, UNIT), 1, (rows, columns))
    return _chain(word)


def _chain(word: Word) -> Expr:
    """A product of letters, from the right; a diagonal matrix multiplies the rows of what follows, or the columns of what it ends."""
    *before, last = word
    match last.meaning:
        case Diagonal(entries) if before:
            left = _chain(tuple(before))
            return times(left, spread(_entries(entries, last.rows, UNIT), 1, left.shape))
    right = _letter(last)
    for letter in reversed(before):
        match letter.meaning:
            case Diagonal(entries):
                right = times(spread(_entries(entries, letter.rows, UNIT), 0, right.shape), right)
            case _:
                right = matmul(_letter(letter), right)
    return right


def _diagonal(letter: Letter) -> Expr:
    assert isinstance(letter.meaning, Diagonal)
    shape = (letter.rows, letter.columns)
    return times(spread(_entries(letter.meaning.entries, letter.rows, UNIT), 0, shape), Eye(shape))


def _letter(letter: Letter) -> Expr:
    if letter.transposed:
        upright = flip(letter)
        return _as_vector(transpose(_letter(upright))) if upright.columns != UNIT else _letter(upright)
    match letter.meaning:
        case Atom(node):
            return _as_vector(node)
        case Unknown():
            return Named(letter.text, _shape(letter.rows, letter.columns))
        case Ones():
            return full(1, (letter.rows,))
        case Product(entries):
            return _entries(entries, letter.rows, letter.columns)
        case Root(square):
            return apply_map("sqrt", spelled(square))
        case Inverse(of):
            return divide(full(1, _shape(letter.rows, letter.columns)), spelled(of))
        case MatrixInverse(of):
            return MatrixInverted(spelled(of), _shape(letter.rows, letter.columns))
        case Inner(word):
            return _inner(word)
        case Trace(word):
            return dot(_word(flip_word(word[:1]), word[0].columns, word[0].rows), _word(word[1:], word[0].columns, word[0].rows))
        case Function(node, arguments):
            return _function(node, tuple(spelled(argument) for argument in arguments))
    return _diagonal(letter)


def _as_vector(x: Expr) -> Expr:
    """A matrix of one column as what stands in it: a vector."""
    if len(x.shape) < 2 or x.shape[1] != UNIT:
        return x
    return matmul(x, full(1, (UNIT,)))


def _inner(word: Word) -> Expr:
    first = flip(word[0])
    return dot(_word((first,), first.rows, UNIT), _word(word[1:], first.rows, UNIT))


def _entries(entries: Entries, rows: Dim, columns: Dim) -> Expr:
    product: Expr | None = None
    below: Expr | None = None
    for word, exponent in entries:
        raised = power(_word(word, rows, columns), constant(abs(exponent)))
        if exponent > 0:
            product = raised if product is None else times(product, raised)
        else:
            below = raised if below is None else times(below, raised)
    above = product if product is not None else full(1, _shape(rows, columns))
    return above if below is None else divide(above, below)


def _function(node: Expr, arguments: tuple[Expr, ...]) -> Expr:
    """The function of the arguments' normal forms; a comparison, standing alone, is 1 or 0."""
    if isinstance(node, Compare):
        shape = node.shape
        return Where(rebuild(node, (*arguments, full(0, shape))), full(1, shape), full(0, shape), shape)
    return rebuild(node, arguments)
