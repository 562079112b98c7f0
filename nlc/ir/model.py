"""The paper's words as frozen dataclasses: a nested system of associative memories, each with its own objective and clock.

A `Component` is one optimisation problem with its own context flow (Nested Learning, Definition 1); sorting components by
update frequency into levels (Definition 2) is the next stage's work. Names are bound and shapes known; nothing is derived.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Literal as OneOf

from nlc.ir.algebra import (  # the expressions a model is made of, offered to those who may import nothing else
    Add,
    Age,
    Compare,
    Constant,
    Divide,
    Dot,
    Expr,
    Extremum,
    Eye,
    Full,
    Gradient,
    Hyperparameter,
    Index,
    Input,
    Join,
    LayerNorm,
    Map,
    MatMul,
    Named,
    Norm,
    Now,
    Outer,
    Position,
    Power,
    Rotary,
    Scale,
    Size,
    Softmax,
    Split,
    Spread,
    State,
    StopGradient,
    Sum,
    Tick,
    Times,
    Transpose,
    When,
    Where,
    Window,
    WindowSoftmax,
    WindowSum,
    walk,
)  # fmt: skip
from nlc.ir.calculus import Inverse
from nlc.ir.claim import Claim, EqualityClaim, IllTyped, OrderClaim, SameAsClaim
from nlc.ir.clock import STEP, TOKEN, Clock, Family
from nlc.ir.dims import Dim, Shape
from nlc.ir.network import Embed, Head, Layer, Network, Normalise, Part, Repeat, Residual
from nlc.ir.recents import Convolve, Delay, Recent, RecentValues
from nlc.ir.steps import ClosedForm, GradientDescent, GradientPoint, Optimizer, Proximal, Trained
from nlc.source import NOWHERE, Span

__all__ = [
    "STEP", "TOKEN", "Abbreviation", "Add", "Age", "Claim", "Clock", "ClosedForm", "Compare", "Component", "Constant", "Convolve", "Delay",
    "Dim", "DimDeclaration", "Divide", "Dot", "Embed", "EqualityClaim", "Expr", "Extremum", "Eye", "Family", "Full", "Gradient",
    "GradientDescent", "GradientPoint", "Head", "Hyperparameter", "HyperparameterDeclaration", "IllTyped", "Index", "Input", "InputStream",
    "Inverse", "Join", "Layer", "LayerNorm", "Map", "MatMul", "Model", "Named", "Network", "Norm", "Normalise", "Now", "Optimizer",
    "OrderClaim", "Outer", "Output", "Part", "Position", "Power", "Proximal", "Recent", "RecentValues", "Repeat", "Residual", "Rotary",
    "SameAsClaim", "Scale", "Shape", "Size", "Slope", "Softmax", "Split", "Spread", "State", "StateDeclaration", "StopGradient", "Sum",
    "Tick", "Times", "Trained", "Training", "Transpose", "When", "Where", "Window", "WindowSoftmax", "WindowSum",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class DimDeclaration:
    """A named size: `default` when it is free, `definition` when it follows from others."""

    name: str
    default: int
    definition: Dim | None = None
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Slope:
    """Of what a stream is the slope: the task loss at each token, by one tensor of a level, with all levels as they were before it.

    When it `is_learned_through`, slower levels learn through how it came about; else it is a constant for them.
    """

    component: str
    part: str
    is_learned_through: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InputStream:
    """One stream of the context flow: a value per tick of its clock. The tokens of a model are whole numbers below `integers`.

    A `slope` is no stream that a caller has: the compiled module takes it from the loss that it is handed.
    `is_whole`: there is one value for all places along the axes, in a system that splits or joins them.
    """

    name: str
    shape: Shape
    every: Clock = TOKEN
    axes: tuple[str, ...] = ()
    integers: Dim | None = None
    low: Fraction | None = None
    high: Fraction | None = None
    slope: Slope | None = None
    is_whole: bool = False
    span: Span = field(default=NOWHERE, compare=False, repr=False)

    @property
    def is_of_sequence(self) -> bool:
        """Whether it has one value for a whole sequence, and no dim of time."""
        return self.every.family is Family.SEQUENCE

    @property
    def is_parted(self) -> bool:
        """Whether it has several values a tick, along a dim of their own after that of time."""
        return self.every.updates_per_tick > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class HyperparameterDeclaration:
    """A named number with its default, settable from outside."""

    name: str
    default: Fraction
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StateDeclaration:
    """One tensor of a memory. `init` (an expression over inputs and other states) is None for zeros."""

    part: str
    shape: Shape


@dataclass(frozen=True, slots=True)
class Abbreviation:
    """A `let` entry that can be said on its own; it means its text where it is used, and gives the value a name for readers."""

    name: str
    value: Expr


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One optimisation problem with its own context flow (Definition 1), at its own update frequency.

    `objective` is the inner objective (a scalar; own states inside it are FITTED reads); its gradient is what `Gradient` nodes
    mean. `follows` is the objective that the step descends: the same one, or, when an optimizer spec was inlined, that spec's
    objective for `weights` (with FITTED reads too). `retention` multiplies the old state (a scalar, or spread to a
    state's shape). `backprop` is the number of updates through which slower levels learn (None for all).
    With a `window` (in tokens, this one's included) the objective ranges over the data in it; `data` are the streams of which the
    older values are kept, by name. `key`, `value` and `prediction` name parts of `objective` for the reader of the laws.
    A level of an optimizer with several `rounds` starts again at every update of its host, on the clock `reset`, and moves so often in
    it: nothing of it is kept.
    """

    name: str
    states: tuple[StateDeclaration, ...]
    objective: Expr
    follows: Expr
    optimizer: Optimizer
    every: Clock
    retention: tuple[Expr, ...] = ()
    gradient_at: GradientPoint = GradientPoint.PREVIOUS
    gradient_period: int = 0
    step_at: GradientPoint = GradientPoint.PREVIOUS
    init: tuple[Expr, ...] = ()
    reset: Clock | None = None
    reduce: OneOf["sum", "mean"] = "sum"
    window: int | OneOf["all"] | None = None
    data: tuple[Abbreviation, ...] = ()
    backprop: int | None = None
    memory: str = ""
    key: Expr | None = None
    value: Expr | None = None
    prediction: Expr | None = None
    host: str | None = None
    rounds: int = 1
    optimizer_name: str = ""
    block: str = ""
    says: str = ""
    cites: tuple[str, ...] = ()
    unsupported: tuple[tuple[str, Span], ...] = ()
    span: Span = field(default=NOWHERE, compare=False, repr=False)
    objective_span: Span = field(default=NOWHERE, compare=False, repr=False)
    every_span: Span = field(default=NOWHERE, compare=False, repr=False)
    places: tuple[tuple[str, Span], ...] = field(default=(), compare=False, repr=False)

    def place(self, key: str) -> Span:
        """Where the spec gives the value of a key of this level; the level's name when it does not give it."""
        return next((span for word, span in self.places if word == key), self.span)

    @property
    def is_solved(self) -> bool:
        """Whether it is solved anew for every query, and keeps nothing but data."""
        return self.every.family is Family.ALWAYS

    @property
    def segment(self) -> int:
        """The tokens after which the data of a solved level begin anew; 0 when they never do."""
        return self.reset.whole_tokens if self.is_solved and self.reset is not None else 0

    @property
    def is_carried(self) -> bool:
        """Whether its state goes from one tick to the next."""
        return not self.is_solved and self.rounds == 1

    @property
    def has_inlined_optimizer(self) -> bool:
        return self.follows != self.objective

    @property
    def holds_gradient(self) -> bool:
        """Whether its gradient may be taken at an older state than the one before its update: not when each update ends the periods."""
        return self.gradient_at is GradientPoint.HELD and self.every.period % self.gradient_period != 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What moves slow levels of an architecture: an optimizer spec at one period, in outer steps, on the gradients of the task loss.

    `numbers` bind the optimizer's hyperparameters to expressions over those of this model; over a period gradients are summed or averaged.
    """

    optimizer: Model
    numbers: tuple[tuple[str, Expr], ...]
    levels: tuple[str, ...]
    every: Clock = STEP
    reduce: OneOf["sum", "mean"] = "sum"


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What the system emits at every token (after the tick's updates), for every place along every axis but those that it has `joined`."""

    name: str
    value: Expr
    joined: tuple[str, ...] = ()
    span: Span = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A whole nested system, resolved.

    `strict` counts reads through another block's outputs when levels are ordered; `uneven_chunks` allows a chunk that does not
    divide a slower one. `overrides` are the texts `key=value` that changed the spec from outside. One of kind model has a `network`,
    and as components its own slow levels and those of its layers, by the layers' names; what a layer computes is in the layer's own model.
    """

    name: str
    kind: OneOf["architecture", "optimizer", "model"]
    says: str = ""
    cites: tuple[str, ...] = ()
    strict: bool = False
    uneven_chunks: bool = False
    training: tuple[Training, ...] = ()
    dims: tuple[DimDeclaration, ...] = ()
    axes: tuple[str, ...] = ()
    inputs: tuple[InputStream, ...] = ()
    hyperparameters: tuple[HyperparameterDeclaration, ...] = ()
    components: tuple[Component, ...] = ()
    outputs: tuple[Output, ...] = ()
    network: Network | None = None
    abbreviations: tuple[Abbreviation, ...] = ()
    recents: tuple[RecentValues, ...] = ()
    claims: tuple[Claim, ...] = ()
    unsupported: tuple[tuple[str, Span], ...] = ()
    path: str = ""
    overrides: tuple[str, ...] = ()
    digest: str = ""
    span: Span = field(default=NOWHERE, compare=False, repr=False)

    @property
    def slopes(self) -> tuple[InputStream, ...]:
        """The streams that say how levels inside the context learn from the task loss."""
        return tuple(stream for stream in self.inputs if stream.slope is not None)

    @property
    def given(self) -> tuple[InputStream, ...]:
        """The streams that a caller has."""
        return tuple(stream for stream in self.inputs if stream.slope is None)

    def learns_from_task(self, name: str) -> bool:
        """Whether a component learns inside the context from the loss that is handed in from outside."""
        return any(stream.slope is not None and stream.slope.component == name for stream in self.inputs)

    def component(self, name: str) -> Component:
        return next(component for component in self.components if component.name == name)

    def axes_of(self, output: Output) -> tuple[str, ...]:
        """The axes along which an output has a value for each place."""
        return tuple(axis for axis in self.axes if axis not in output.joined)

    @property
    def without_defaults(self) -> Model:
        """The model whatever the defaults of its dims and hyperparameters: what two models have in common that differ only there."""
        dims = tuple(replace(item, default=0) for item in self.dims)
        return replace(self, dims=dims, hyperparameters=tuple(replace(item, default=Fraction(0)) for item in self.hyperparameters))

    @property
    def fast(self) -> tuple[Component, ...]:
        """The levels that run inside a sequence; in an optimizer, all of them."""
        return tuple(item for item in self.components if self.kind == "optimizer" or item.every.is_fast)

    @property
    def moves_matrices(self) -> bool:
        """Whether this is an optimizer of matrices, for which `like(weights)` has rows and columns."""
        return self.kind == "optimizer" and len(self.component("weights").states[0].shape) == 2

    @property
    def unit(self) -> str:
        """What the compiled code ticks by: a step for an optimizer, else a token."""
        return "step" if self.kind == "optimizer" else "token"

    @property
    def updates_per_tick(self) -> int:
        """How many parts a tick has: n when levels or streams are on the clock `token / n` (or `step / n`), else 1."""
        clocks = (*(item.every for item in self.fast if item.rounds == 1), *(item.every for item in self.inputs))
        return max((clock.updates_per_tick for clock in clocks), default=1)

    def values_per_tick(self, node: Expr) -> int:
        """How many values an expression over streams has at a tick: several where it reads a stream that has."""
        parted = {item.name for item in self.inputs if item.is_parted}
        return self.updates_per_tick if any(isinstance(part, Input) and part.name in parted for part in walk(node)) else 1

    def is_parted(self, name: str) -> bool:
        """Whether a component is updated several times a tick."""
        return self.component(name).every.updates_per_tick > 1 and self.component(name).rounds == 1

    def is_parameter(self, name: str) -> bool:
        """Whether a component is a slow level of an architecture, constant while a sequence lasts."""
        return self.kind != "optimizer" and not self.component(name).every.is_fast

    @property
    def parameters(self) -> tuple[Component, ...]:
        """The slow levels of an architecture, which are its parameters; their optimizers' levels are not among them."""
        return tuple(item for item in self.components if self.kind != "optimizer" and not item.every.is_fast and item.host is None)
