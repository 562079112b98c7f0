"""Searches the smallest sizes and values at which two computations differ: exact where the functions allow it, else in floats.

Sizes go from 1 upwards, values from 0 and 1 to small fractions, drawn with a fixed seed; a counterexample is then simplified entry by
entry. The search shares nothing with the normal form but the expressions.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice, product

from nlc.ir.algebra import Expr, Hyperparameter, Index, Input, Size, Tick, walk
from nlc.ir.dims import Dim
from nlc.ir.model import DimDeclaration, Model
from nlc.ir.show import expression_text
from nlc.verify.arithmetic import EXACT, FLOATING, Arithmetic, NotRational
from nlc.verify.rational import Sizes, Tensor, converted, shape_of

SEED = 0
LARGEST_SIZE = 3
MOST_SIZES = 12
SAMPLES_PER_SIZE = 6
TRIES_PER_SIZE = 120
EPSILON = 2.0**-52
SLACK = 2.0**20
"""Floats may differ by this many units of rounding at the magnitude of the values: room for a million operations."""

POOLS: tuple[tuple[Fraction, ...], ...] = tuple(
    tuple(Fraction(text) for text in texts.split())
    for texts in ("0 1", "0 1 -1", "0 1 -1 2", "0 1 -1 2 3 -2 1/2 -1/2", "1 2 -1 3 1/2 -3/2")
)

Pairs = tuple[tuple[str, Tensor, Tensor], ...]
"""What is compared: a name, the left value, the right value."""

Compare = Callable[[Mapping[Expr, Tensor], Sizes, Arithmetic], Pairs | None]
"""Computes the pairs; None when the values do not satisfy what the claim assumes."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """A leaf to draw values for, and the values it may have."""

    leaf: Expr
    low: Fraction | None = None
    high: Fraction | None = None
    whole: bool = False

    def pool(self, numbers: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
        """The numbers that it may be."""
        allowed = tuple(number for number in numbers if self.allows(number))
        return allowed or tuple(end for end in (self.low, self.high) if end is not None and self.allows(end)) or (Fraction(1),)

    def allows(self, number: Fraction) -> bool:
        above = self.low is None or number >= self.low
        below = self.high is None or number <= self.high
        return above and below and (not self.whole or number.denominator == 1)


def unknown(leaf: Expr, model: Model) -> Unknown:
    """What a leaf may be: an input in its declared range, a hyperparameter positive, a tick a whole number."""
    match leaf:
        case Input(name):
            stream = next((stream for stream in model.inputs if stream.name == name), None)
            return Unknown(leaf, stream.low, stream.high) if stream is not None else Unknown(leaf)
        case Hyperparameter():
            return Unknown(leaf, low=Fraction(1, 4))
        case Index():
            return Unknown(leaf, low=Fraction(0), whole=True)
        case Tick():
            return Unknown(leaf, low=Fraction(1), whole=True)
    return Unknown(leaf)


@dataclass(frozen=True, slots=True)
class Counterexample:
    """Sizes and values at which `quantity` is `left` by one computation and `right` by the other."""

    sizes: tuple[tuple[str, int], ...]
    values: tuple[tuple[str, Tensor], ...]
    quantity: str
    left: Tensor
    right: Tensor
    exact: bool
    leaves: tuple[Expr, ...] = ()

    def as_json(self) -> dict[str, object]:
        return {
            "dims": dict(self.sizes),
            "values": {name: value.nested for name, value in self.values},
            "quantity": self.quantity,
            "left": self.left.nested,
            "right": self.right.nested,
            "exact": self.exact,
        }

    @property
    def text(self) -> str:
        """In one line, for people."""
        given = ", ".join([f"{name} = {size}" for name, size in self.sizes] + [f"{name} = {_text(value)}" for name, value in self.values])
        kind = "" if self.exact else " (in floating point)"
        return f"at {given}: {self.quantity} is {_text(self.left)} on the left and {_text(self.right)} on the right{kind}"


def _text(tensor: Tensor) -> str:
    return str(tensor.nested).replace("'", "")


@dataclass(frozen=True, slots=True)
class Search:
    """What a search found: a counterexample, or samples that all agree up to `worst_gap` (0 when all were exact)."""

    counterexample: Counterexample | None
    samples: int
    worst_gap: float
    seed: int = SEED

    def as_json(self) -> dict[str, object]:
        return {"samples": self.samples, "worst_gap": self.worst_gap, "seed": self.seed}


@dataclass(frozen=True, slots=True)
class Sample:
    """One evaluation: the values drawn and what came out."""

    values: Mapping[Expr, Tensor]
    pairs: Pairs
    exact: bool

    @property
    def difference(self) -> tuple[str, Tensor, Tensor] | None:
        """The first pair that differs, in floats by more than rounding explains."""
        for name, left, right in self.pairs:
            if left.entries != right.entries if self.exact else _gap(left, right) > self.tolerance:
                return name, left, right
        return None

    @property
    def tolerance(self) -> float:
        tensors = [*self.values.values(), *(tensor for pair in self.pairs for tensor in pair[1:])]
        return SLACK * EPSILON * (1 + max((abs(float(entry)) for tensor in tensors for entry in tensor.entries), default=0.0))


@dataclass(frozen=True, slots=True)
class Question:
    """What to draw, what to compare, and where dims come from: the models, and the expressions that are evaluated."""

    unknowns: tuple[Unknown, ...]
    expressions: tuple[Expr, ...]
    models: tuple[Model, ...]
    compare: Compare


def search(question: Question, most: int = MOST_SIZES * SAMPLES_PER_SIZE) -> Search:
    """The first counterexample in order of size, simplified; or what up to `most` samples say."""
    generator = random.Random(SEED)
    streams = [(sizes, _samples(question, sizes, generator)) for sizes in islice(_sizes(question), MOST_SIZES)]
    samples, worst = 0, 0.0
    for sizes, stream in streams * (most // SAMPLES_PER_SIZE):
        for sample in islice(stream, min(SAMPLES_PER_SIZE, most - samples)):
            samples += 1
            if sample.difference is not None:
                return Search(_named(_simplified(sample, question, sizes), sizes), samples, worst)
            worst = max([worst, *(_gap(left, right) for _, left, right in sample.pairs)])
    return Search(None, samples, worst)


def _gap(left: Tensor, right: Tensor) -> float:
    return max((abs(float(first - second)) for first, second in zip(left.entries, right.entries, strict=True)), default=0.0)


# --- drawing -----------------------------------------------------------------------------------------------------


def _samples(question: Question, sizes: Sizes, generator: random.Random) -> Iterator[Sample]:
    """Samples at which both sides are defined and the assumptions hold, simple values first."""
    for attempt in range(TRIES_PER_SIZE):
        numbers = POOLS[min(attempt, len(POOLS) - 1)]
        values = {item.leaf: _drawn(item, sizes, numbers, generator) for item in question.unknowns}
        sample = _evaluated(values, sizes, question.compare)
        if sample is not None:
            yield sample


def _drawn(item: Unknown, sizes: Sizes, numbers: tuple[Fraction, ...], generator: random.Random) -> Tensor:
    shape = shape_of(item.leaf.shape, sizes)
    return Tensor(shape, tuple(generator.choice(item.pool(numbers)) for _ in range(math.prod(shape))))


def _evaluated(values: Mapping[Expr, Tensor], sizes: Sizes, compare: Compare) -> Sample | None:
    """The sample in exact arithmetic, or in floats; None where a side is undefined."""
    try:
        pairs = compare(values, sizes, EXACT)
        return Sample(values, pairs, True) if pairs is not None else None
    except NotRational:
        pass
    except (ArithmeticError, ValueError):
        return None
    try:
        pairs = compare({leaf: converted(value, FLOATING) for leaf, value in values.items()}, sizes, FLOATING)
    except (ArithmeticError, ValueError):
        return None
    if pairs is None or not all(math.isfinite(entry) for _, left, right in pairs for entry in left.entries + right.entries):
        return None
    return Sample(values, pairs, False)


def _sizes(question: Question) -> Iterator[dict[str, int]]:
    """Sizes of the dims that matter, smallest first; those in which a defined dim is not whole are left out."""
    declared, parts = _declared(question), _parts(question)
    used = _used(parts)
    free = sorted({name for item in used for name in _defined(Dim.named(item), declared).names})
    choices = product(range(1, LARGEST_SIZE + 1), repeat=len(free))
    for numbers in sorted(choices, key=lambda items: (max(items, default=0), sum(items), items)):
        sizes = dict(zip(free, numbers, strict=True))
        try:
            found = {**sizes, **{name: _defined(Dim.named(name), declared).size(sizes) for name in used}}
            _ = [dim.size(found) for part in parts for dim in _dims(part) if dim.names]
            yield found
        except ValueError:
            continue


def sizes_up_to(question: Question, largest: int) -> Sizes:
    """The dims that matter at their defaults, the free ones at `largest` where their default is more, or where they have none."""
    declared, used = _declared(question), _used(_parts(question))
    names = sorted({name for item in used for name in _defined(Dim.named(item), declared).names})
    free = {name: min(declared[name].default, largest) if name in declared else largest for name in names}
    return {**free, **{name: _defined(Dim.named(name), declared).size(free) for name in used}}


def _declared(question: Question) -> dict[str, DimDeclaration]:
    return {declaration.name: declaration for model in question.models for declaration in model.dims}


def _parts(question: Question) -> list[Expr]:
    return [part for expression in question.expressions for part in walk(expression)] + [item.leaf for item in question.unknowns]


def _used(parts: list[Expr]) -> list[str]:
    return sorted({name for part in parts for dim in _dims(part) for name in dim.names})


def _dims(part: Expr) -> tuple[Dim, ...]:
    return (part.dim,) if isinstance(part, Size) else part.shape


def _defined(dim: Dim, declared: Mapping[str, DimDeclaration]) -> Dim:
    """The dim in terms of free names."""
    definitions = {name: declared[name].definition for name in dim.names if name in declared}
    known = {name: _defined(definition, declared) for name, definition in definitions.items() if definition is not None}
    return dim.substitute(known) if known else dim


# --- simplifying -------------------------------------------------------------------------------------------------


def _simplified(sample: Sample, question: Question, sizes: Sizes) -> Sample:
    """The same difference with as many entries as possible made 0, or else 1."""
    for item in question.unknowns:
        for index in range(len(sample.values[item.leaf].entries)):
            for number in (Fraction(0), Fraction(1)):
                simpler = _with_entry(sample, item, index, number)
                if simpler is None:
                    continue
                evaluated = _evaluated(simpler, sizes, question.compare)
                if evaluated is not None and evaluated.exact == sample.exact and evaluated.difference is not None:
                    sample = evaluated
                    break
    return sample


def _with_entry(sample: Sample, item: Unknown, index: int, number: Fraction) -> dict[Expr, Tensor] | None:
    tensor = sample.values[item.leaf]
    if not item.allows(number):
        return None
    entries = (*tensor.entries[:index], number, *tensor.entries[index + 1 :])
    return {**sample.values, item.leaf: Tensor(tensor.shape, entries)}


def _named(sample: Sample, sizes: Sizes) -> Counterexample:
    assert sample.difference is not None
    quantity, left, right = sample.difference
    values = tuple((expression_text(leaf), value) for leaf, value in sample.values.items())
    shown = tuple((name, size) for name, size in sizes.items())
    return Counterexample(shown, values, quantity, left, right, sample.exact, tuple(sample.values))
