"""What the user wrote: the composed spec as typed fields, and the syntax trees of its expressions, nothing decided.

Every node carries its span. Spans never take part in comparisons, so that two layouts of one spec are equal.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Literal as OneOf

from nlc.source import NOWHERE, Span

if TYPE_CHECKING:
    from nlc.ir.parts import PartField


def span_field() -> Span:
    """A span that takes no part in comparisons."""
    return field(default=NOWHERE, compare=False, repr=False)


# --- expressions, as written -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Name:
    """`beta`, or dotted in claims: `project_q.momentum`."""

    text: str
    span: Span = span_field()


@dataclass(frozen=True, slots=True)
class Number:
    """`0.5`, `1e-3`: kept exactly."""

    value: Fraction
    span: Span = span_field()


@dataclass(frozen=True, slots=True)
class Negate:
    """`-x`."""

    operand: Syntax
    span: Span = span_field()


BinaryOperator = OneOf["+", "-", "*", "/", "@", "**", "and"]


@dataclass(frozen=True, slots=True)
class Binary:
    """`left operator right`: arithmetic is elementwise, `@` is the product; `and` joins conditions of a claim."""

    operator: BinaryOperator
    left: Syntax
    right: Syntax
    span: Span = span_field()


ComparisonOperator = OneOf["==", "!=", "<", "<=", ">", ">=", "~", "in"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """`a > b ~ c`: a chain, with one operator between each two operands (`~` is a tie of levels)."""

    operands: tuple[Syntax, ...]
    operators: tuple[ComparisonOperator, ...]
    span: Span = span_field()


@dataclass(frozen=True, slots=True)
class Call:
    """`function(arguments, keyword = value)`; the function may itself be a call: `prev(memory)(k)`."""

    function: Syntax
    arguments: tuple[Syntax, ...] = ()
    keywords: tuple[tuple[Name, Syntax], ...] = ()
    span: Span = span_field()


@dataclass(frozen=True, slots=True)
class Duration:
    """`16 tokens`, `period steps`: a count and a unit (`token`, `step` or `sequence`, always singular here)."""

    count: Syntax
    unit: OneOf["token", "step", "sequence", "update"]
    span: Span = span_field()


@dataclass(frozen=True, slots=True)
class Function:
    """`(x) -> scale * x`: the read of a memory defined in a spec."""

    parameters: tuple[Name, ...]
    body: Syntax
    span: Span = span_field()


@dataclass(frozen=True, slots=True)
class Listing:
    """`[2, 4, 8]`."""

    items: tuple[Syntax, ...]
    span: Span = span_field()


Syntax = Name | Number | Negate | Binary | Comparison | Call | Duration | Function | Listing


# --- the file ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Text:
    """A scalar taken as it stands (a name, a sentence), with its span."""

    text: str
    span: Span = span_field()


@dataclass(frozen=True, slots=True, kw_only=True)
class DimField:
    """`d_k: 64` or `d_head: d_model / heads`."""

    name: Text
    value: Syntax


@dataclass(frozen=True, slots=True, kw_only=True)
class InputField:
    """A stream of the context flow: `k: [d_k]`, `gradient: like(weights)`, or a mapping with its clock, axes and range."""

    name: Text
    shape: tuple[Syntax, ...] | Syntax
    every: Syntax | None = None
    axes: tuple[Text, ...] | None = None
    range: tuple[Syntax, Syntax] | None = None
    span: Span = span_field()


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedSyntax:
    """`name: expression`: a `let`, a hyperparameter, an output, a binding."""

    name: Text
    value: Syntax


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelField:
    """One component of the nested system, as written under `levels:`; what is absent is None."""

    name: Text
    memory: Syntax | None = None
    objective: Syntax | None = None
    keys: Syntax | None = None
    values: Syntax | None = None
    retention: Syntax | None = None
    optimizer: Syntax | None = None
    every: Syntax | None = None
    gradient_at: Syntax | None = None
    init: Syntax | None = None
    reset: Syntax | None = None
    reduce: Syntax | None = None
    window: Syntax | None = None
    backprop: Syntax | None = None
    block: Text | None = None
    says: Text | None = None
    span: Span = span_field()


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionField:
    """An entry of `define:` or of nlc's library: a memory (`states`, `read`), an `objective`, a `retention`, with parameters."""

    name: Text
    parameters: tuple[Text, ...] = ()
    states: tuple[NamedSyntax, ...] = ()
    read: Function | None = None
    objective: Syntax | None = None
    retention: Syntax | None = None
    says: Text | None = None
    cites: tuple[Text, ...] = ()
    span: Span = span_field()


WholeNumbers = tuple[tuple[str, int], ...]
"""What a claim sets in the spec that it names, and may be a count of its clocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureField:
    """`measure: gap by NAME in [VALUES]`: what is varied, and the numbers that it is given."""

    name: Text
    values: tuple[Fraction, ...]
    span: Span = span_field()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimField:
    """A claim as written. Exactly one of `prove`, `order`, `same_as`, `reading` is given; `minimise` and `over` go with `prove`."""

    says: Text
    id: Text | None = None
    minimise: Syntax | None = None
    over: Syntax | None = None
    reading: Text | None = None
    instead: Text | None = None
    prove: Syntax | None = None
    order: Syntax | None = None
    same_as: Text | None = None
    given: Syntax | None = None
    expect: Text | None = None
    where: tuple[NamedSyntax, ...] = ()
    options: tuple[NamedSyntax, ...] = ()
    varying: tuple[Text, ...] = ()
    measure: MeasureField | None = None
    cites: tuple[Text, ...] = ()
    span: Span = span_field()

    @property
    def whole_options(self) -> WholeNumbers:
        """The whole numbers among the options."""
        numbers = ((item.name.text, item.value.value) for item in self.options if isinstance(item.value, Number))
        return tuple((name, value.numerator) for name, value in numbers if value.denominator == 1)

    def options_at(self, value: Fraction) -> WholeNumbers:
        """The same with the other spec's hyperparameter that is measured by at a value, when that is a whole number."""
        assert self.measure is not None
        at_value = ((self.measure.name.text, value.numerator),) if value.denominator == 1 else ()
        return (*self.whole_options, *at_value)


@dataclass(frozen=True, slots=True, kw_only=True)
class OuterField:
    """`outer:`: what trains the slow levels."""

    objective: Syntax
    optimizer: Syntax | None = None
    every: Syntax | None = None
    span: Span = span_field()


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A whole spec after `extends` and `use` were composed."""

    name: Text
    kind: OneOf["architecture", "optimizer", "model"] = "architecture"
    says: Text | None = None
    cites: tuple[Text, ...] = ()
    strict: bool = False
    dims: tuple[DimField, ...] = ()
    axes: tuple[Text, ...] = ()
    inputs: tuple[InputField, ...] = ()
    hyperparameters: tuple[NamedSyntax, ...] = ()
    let: tuple[NamedSyntax, ...] = ()
    define: tuple[DefinitionField, ...] = ()
    levels: tuple[LevelField, ...] = ()
    outputs: tuple[NamedSyntax, ...] = ()
    network: tuple[PartField, ...] = ()
    outer: OuterField | None = None
    claims: tuple[ClaimField, ...] = ()
    span: Span = span_field()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimsFile:
    """A parsed file of claims: each section is a system, written out or built on a spec, with what is claimed about it."""

    name: Text
    path: str
    says: Text | None = None
    cites: tuple[Text, ...] = ()
    sections: tuple[SpecFile, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecFile:
    """A parsed spec and every file that it was made from: `files` holds (name in the spec, text), the spec's own first.

    `variants` are this spec with a hyperparameter that a claim measures by at each of its values.
    `overrides` are the texts `key=value` that changed it from outside; `optimizers` are the specs that `optimizer: NAME(...)` entries
    refer to, by the name used; `layers` are those that a network names, by the path used.
    """

    spec: Spec
    path: str
    files: tuple[tuple[str, str], ...]
    overrides: tuple[str, ...] = ()
    optimizers: tuple[tuple[str, Spec], ...] = ()
    peers: tuple[tuple[str, WholeNumbers, SpecFile], ...] = ()
    layers: tuple[tuple[str, SpecFile], ...] = ()
    variants: tuple[tuple[str, Fraction, SpecFile], ...] = ()
    library: tuple[DefinitionField, ...] = ()
