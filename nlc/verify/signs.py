"""Which numbers are positive: leaves by their declared ranges and what a claim assumes, normal forms by their letters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nlc.ir.algebra import (
    Add,
    Compare,
    Constant,
    Divide,
    Dot,
    Expr,
    Full,
    Hyperparameter,
    Input,
    Map,
    Norm,
    Power,
    Scale,
    Size,
    Sum,
    Times,
    WindowSum,
)
from nlc.ir.model import Model
from nlc.verify.letters import UNIT, Atom, Function, Inner, Inverse, Letter, Ones, Product, Root, Word, flip_word, word_text
from nlc.verify.polynomial import Polynomial

POSITIVE_MAPS = frozenset({"exp", "sigmoid", "cosh", "softplus", "normal_cdf", "normal_density"})
NONNEGATIVE_MAPS = POSITIVE_MAPS | {"abs", "relu", "sqrt"}


@dataclass(frozen=True, slots=True)
class Signs:
    """What is known of leaves: hyperparameters are positive, inputs as their ranges say, and what is assumed holds."""

    positive: frozenset[Expr]
    nonnegative: frozenset[Expr]

    def is_nonnegative(self, node: Expr) -> bool:
        """Whether every entry of an expression is known to be 0 or more."""
        match node:
            case Constant(value) | Full(value):
                return value >= 0
            case Size() | Norm() | Hyperparameter():
                return True
            case Map(function) if function in NONNEGATIVE_MAPS:
                return True
            case Dot(left, right) if left == right:
                return True
            case Power(_, Constant(exponent)) if exponent.denominator == 1 and exponent % 2 == 0:
                return True
            case Add(terms):
                return all(self.is_nonnegative(term) for term in terms)
            case Scale(left, right) | Times(left, right) | Divide(left, right) | Dot(left, right):
                return self.is_nonnegative(left) and self.is_nonnegative(right)
            case Sum(x) | Power(x):
                return self.is_nonnegative(x)
        return node in self.positive or node in self.nonnegative

    def letter_is_positive(self, letter: Letter) -> bool:
        """Whether a scalar letter is known to be above 0."""
        match letter.meaning:
            case Atom(Size() | Hyperparameter()):
                return True
            case Atom(node):
                return node in self.positive
            case Function(Map(function)):
                return function in POSITIVE_MAPS
            case Inner((first, last)) if isinstance(first.meaning, Ones) or isinstance(last.meaning, Ones):
                return self.letter_is_positive(last if isinstance(first.meaning, Ones) else first)
            case Ones():
                return True
            case Inverse(of) | Function(WindowSum(), (of,)):
                return self.is_positive(of)
        return letter.text.startswith(REST)

    def letter_is_nonnegative(self, letter: Letter) -> bool:
        """Whether a scalar letter is known to be 0 or more."""
        match letter.meaning:
            case Root():
                return True
            case Function(WindowSum(), (of,)):
                return self.at_least_zero(of)
            case Atom(node) if node in self.nonnegative:
                return True
            case Function(Map(function)) if function in NONNEGATIVE_MAPS:
                return True
            case Inner(word) if len(word) % 2 == 0 and flip_word(word[: len(word) // 2]) == word[len(word) // 2 :]:
                return True
        return letter.text.startswith(PART) or self.letter_is_positive(letter)

    def is_positive(self, x: Polynomial) -> bool:
        """Whether every entry of a scalar or vector is known to be above 0: a sum of terms, none below and one above."""
        return self.at_least_zero(x) and any(
            all(self.letter_is_positive(letter) for letter, _ in (*factors, *_entries(word))) for factors, word in x.terms
        )

    def at_least_zero(self, x: Polynomial) -> bool:
        """Whether every entry of a scalar or vector is known to be 0 or more: a sum of terms of which none can be below."""
        return x.columns == UNIT and all(
            coefficient > 0
            and all(exponent % 2 == 0 or self.letter_is_nonnegative(letter) for letter, exponent in (*factors, *_entries(word)))
            for (factors, word), coefficient in x.terms.items()
        )

    def is_definite(self, x: Polynomial) -> bool:
        """Whether a square matrix is known to be positive definite: a positive multiple of the identity and positive ones of A^T A."""
        has_identity = False
        for (factors, word), coefficient in x.terms.items():
            middle = len(word) // 2
            is_positive = coefficient > 0 and all(self.letter_is_positive(letter) for letter, _ in factors)
            if not is_positive or len(word) % 2 or flip_word(word[:middle]) != word[middle:]:
                return False
            has_identity = has_identity or not word
        return has_identity


def _entries(word: Word) -> tuple[tuple[Letter, int], ...]:
    """The elementwise factors of a column, a product of several letters as one that nothing is known of."""
    match word:
        case ():
            return ()
        case (Letter(meaning=Product(entries)),):
            return tuple((inner[0] if len(inner) == 1 else Letter(word_text(inner)), exponent) for inner, exponent in entries)
        case (letter,):
            return ((letter, 1),)
    return ((Letter(word_text(word)), 1),)


NOTHING_KNOWN = Signs(frozenset(), frozenset())

PART, REST = "the part cut off by ", "one less the part cut off by "
"""How letters are called that stand for what rounding cut off, 0 or more but below 1, and for what that lacks to 1, which is above 0."""


def signs_of(model: Model, bounds: Sequence[Compare] = ()) -> Signs:
    """What the model's ranges and a claim's bounds say."""
    positive: set[Expr] = set()
    nonnegative: set[Expr] = set()
    for stream in model.inputs:
        if stream.low is not None and stream.low >= 0:
            (positive if stream.low > 0 else nonnegative).add(Input(stream.name, stream.shape))
    for bound in bounds:
        above, below = (bound.left, bound.right) if bound.operator.startswith(">") else (bound.right, bound.left)
        if isinstance(below, Constant | Full) and below.value >= 0:
            is_above = below.value > 0 or not bound.operator.endswith("=")
            (positive if is_above else nonnegative).add(above)
    return Signs(frozenset(positive), frozenset(nonnegative))
