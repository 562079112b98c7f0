"""Update rules as named equations in the paper's words, each with the rule and the citation that produced it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace as replace_fields
from typing import Literal

from nlc.ir.algebra import Expr, Named, Parameter, State, StopGradient, When, walk
from nlc.ir.build import replace
from nlc.ir.model import Clock, Model
from nlc.ir.order import LevelOrder
from nlc.ir.recents import Shift
from nlc.ir.show import expression_text


@dataclass(frozen=True, slots=True)
class Equation:
    """`name = value`, by a rule. `name` is unique within its law; later equations refer to it by `Named`.

    `part` says which tensor of the component's state the equation gives the new value of (None for an abbreviation); `owner` is that
    component when it is not the law's own: an optimizer's level adds up the gradients of the level that it serves. `starts` says which
    tensor a level of several rounds starts from it.
    """

    name: str
    value: Expr
    rule: str
    cites: tuple[str, ...] = ()
    part: str | None = None
    owner: str | None = None
    starts: str | None = None


@dataclass(frozen=True, slots=True)
class Law:
    """How one component moves at a tick of its clock: its equations in order, the new states last.

    Reads in the equations are settled: a `State` node is either PREVIOUS (the state when the tick began) or CURRENT (the new state,
    of a component that ran earlier in this tick).

    With several `rounds` the equations after the `opening`, which says what each tensor starts from, run so often inside a tick; the state
    before it is then that before a round.
    """

    component: str
    clock: Clock
    equations: tuple[Equation, ...]
    rounds: int = 1

    @property
    def opening(self) -> tuple[Equation, ...]:
        """What runs once before the rounds; nothing where there is one."""
        return self.equations[: max((place + 1 for place, item in enumerate(self.equations) if item.starts is not None), default=0)]

    @property
    def round(self) -> tuple[Equation, ...]:
        """What each round runs."""
        return self.equations[len(self.opening) :]

    @property
    def without_words(self) -> tuple[Equation, ...]:
        """The equations but for those that give entries of the spec their names."""
        return tuple(item for item in self.equations if item.rule != WORD)

    @property
    def says(self) -> str:
        """When it runs."""
        return f"{self.rounds} rounds every {self.clock}" if self.rounds > 1 else f"every {self.clock}"

    def new_state(self, part: str) -> Equation:
        return next(equation for equation in self.equations if equation.part == part)


HELD = re.compile(r"(?:(?P<tensor>.+)\.)?held_(?P<period>\d+)")
POSITION = "position"
"""The count of the tokens that were seen, a whole number, the same for a whole batch."""

RECENT = "recent"
"""What the last values of expressions over streams, for delays and convolutions, are kept under."""

PREVIOUS = "previous"
"""What the previous values of input streams are kept under."""


@dataclass(frozen=True, slots=True)
class Held:
    """A tensor of a state as it was when the last whole period ended."""

    tensor: str
    period: int

    @property
    def part(self) -> str:
        """What it is kept under; no tensor of a spec may be called so."""
        return f"{self.tensor}.held_{self.period}" if self.tensor else f"held_{self.period}"


def held_of(part: str) -> Held | None:
    """What is kept under the name of a part, if that is held."""
    found = HELD.fullmatch(part)
    return None if found is None else Held(found["tensor"] or "", int(found["period"]))


@dataclass(frozen=True, slots=True)
class Kept:
    """A tensor that is carried to the next tick beside the states of the levels: `value` is what it is after this one.

    Held states, sums of gradients over part of a period, previous inputs, and the position in the sequence: whatever makes the
    future depend on the past is state. It starts from `start`, or from zeros. With a `window`, in tokens, the values of older tokens
    are kept too: all of them, or those of the last window - 1. What `is_whole` has no dims for the axes.
    """

    component: str
    part: str
    value: Expr
    rule: str
    start: Expr | None = None
    window: int | Literal["all"] | None = None
    is_whole: bool = False

    @property
    def name(self) -> str:
        """Its key in the state dict."""
        return f"{self.component}.{self.part}" if self.part else self.component

    @property
    def held(self) -> Held | None:
        """Which tensor of its component it is, and over which period, when it is a state that is held."""
        return None if self.component in (POSITION, RECENT, PREVIOUS) else held_of(self.part)

    def holds(self, component: str, tensor: str) -> bool:
        """Whether it is that tensor of a state, over some period."""
        return self.component == component and self.held is not None and self.held.tensor == tensor


@dataclass(frozen=True, slots=True)
class Reset:
    """A tensor that starts again, from `value`, before the first token of every new period, for whoever reads its older value there.

    With `at_start` it does so before the very first token too, and with a `period` of 0 only there. Periods are counted anew `within`
    longer ones, if that is not 0. What the value reads of the same tick is settled like an equation. `words` name parts of the value,
    which holds them written out.
    """

    state: State
    period: int
    value: Expr
    at_start: bool = False
    within: int = 0
    unit: str = "token"
    words: tuple[Equation, ...] = ()

    @property
    def told(self) -> tuple[Equation, ...]:
        """The words, shorter ones first, then the start in these words."""
        texts: dict[Expr, Expr] = {}
        said = []
        for item in self.words:
            said.append(Equation(item.name, replace(item.value, texts.get), item.rule))
            texts[item.value] = Named(item.name, item.value.shape)
        return (*said, Equation(self.name, replace(self.value, texts.get), self.says))

    @property
    def sources(self) -> tuple[State, ...]:
        """The new states of this tick that the value reads."""
        return tuple(node for node in walk(self.value) if isinstance(node, State) and node.when is When.CURRENT)

    def waits(self, others: Iterable[Reset]) -> bool:
        """Whether it reads what some other states start from."""
        read = {node for node in walk(self.value) if isinstance(node, State)}
        return any(item.state in read for item in others)

    @property
    def name(self) -> str:
        """What is called that starts again, as a word."""
        return ".".join(filter(None, (self.state.component, self.state.part)))

    @property
    def is_always(self) -> bool:
        """Whether it starts again at every tick."""
        return self.period == 1 and self.at_start

    @property
    def says(self) -> str:
        """When it starts again, for readers of the laws."""
        if self.is_cut_off:
            return f"nothing is learned through what came before, every {self.period} {self.unit}s"
        if not self.period:
            return f"before the first {self.unit}"
        return f"before {f'every {self.unit}' if self.period == 1 else f'the first of {self.period} {self.unit}s'}"

    @property
    def is_cut_off(self) -> bool:
        """Whether the state stays as it is, and slower levels no longer learn through how it came about."""
        return isinstance(self.value, StopGradient)


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a carried tensor is as the next sequence begins.

    In the value, PREVIOUS reads are of what other levels begin with, CURRENT ones of what they were when the last sequence had ended.
    """

    state: State
    value: Expr

    @property
    def name(self) -> str:
        """What is carried, as a word."""
        return ".".join(filter(None, (self.state.component, self.state.part)))

    @property
    def goes_on(self) -> bool:
        """Whether it is kept from the sequence that ended."""
        return isinstance(self.value, State) and self.value.when is When.CURRENT


def with_parameters(model: Model, node: Expr) -> Expr:
    """The expression with reads of slow levels, which are constant over a sequence, as parameters."""

    def change(part: Expr) -> Expr | None:
        if isinstance(part, State) and model.is_parameter(part.component):
            return Parameter(part.component, part.part, part.shape, span=part.span)
        return None

    return replace(node, change)


def written_out(node: Expr, law: Law) -> Expr:
    """An expression with the values of the law's equations in place of their names."""
    values = {equation.name: equation.value for equation in law.equations}

    def change(part: Expr) -> Expr | None:
        return written_out(values[part.name], law) if isinstance(part, Named) and part.name in values else None

    return replace(node, change)


def without_repeats(laws: Iterable[Law]) -> tuple[Law, ...]:
    """The laws without the words of the spec that an earlier one has defined in the same way: a reader needs them once."""
    known: set[tuple[str, Expr]] = set()
    told = []
    for law in laws:
        equations = tuple(item for item in law.equations if item.rule != WORD or (item.name, item.value) not in known)
        known.update((item.name, item.value) for item in equations if item.rule == WORD)
        told.append(replace_fields(law, equations=equations))
    return tuple(told)


def used_definitions(laws: Laws) -> tuple[Equation, ...]:
    """The definitions that the laws hold, or that others hold that they do."""
    used, found = list(laws.values), []
    for equation in reversed(laws.definitions):
        if any(part == equation.value for value in used for part in walk(value)):
            found.append(equation)
    return tuple(reversed(found))


def abbreviated_text(equation: Equation, definitions: tuple[Equation, ...]) -> str:
    """The text of an equation's value, in which definitions stand as their names."""
    names = {item.value: Named(item.name, item.value.shape) for item in definitions if item != equation}
    return expression_text(replace(equation.value, names.get) if names else equation.value)


WORD = "abbreviation"
"""The rule of an equation that gives a `let` entry its name."""

GRAM = "the Gram matrix"
"""The rule of an equation X X^T that names it, for sums of products that alternate between X and its transpose."""


def recent_names(kept: Iterable[Kept]) -> dict[Expr, str]:
    """Under what name recent values are kept, by the node that reads them."""
    return {item.value.recent: item.part for item in kept if isinstance(item.value, Shift)}


@dataclass(frozen=True, slots=True)
class Laws:
    """All laws of a system in the order in which they run at a tick, then the outputs (settled in the same way), then what is kept.

    Slow levels of an architecture have no law in it; `training` holds the laws of the optimizers that move them.
    `definitions` name values of streams alone, which equations hold written out: who prints them says the name instead. `told_outputs`
    are the outputs for readers, in the spec's own words, each defined before it is used.
    Where levels outlast a sequence, `endings` are the laws of those that move when it ends, over the state that it ended with, and
    `beginnings` say what the next one begins with, each after those that it reads. A model has no laws but those of its `layers`.
    """

    order: LevelOrder
    laws: tuple[Law, ...]
    outputs: tuple[Equation, ...]
    kept: tuple[Kept, ...] = ()
    resets: tuple[Reset, ...] = ()
    training: tuple[Laws, ...] = ()
    definitions: tuple[Equation, ...] = ()
    endings: tuple[Law, ...] = ()
    beginnings: tuple[Beginning, ...] = ()
    layers: tuple[Laws, ...] = ()
    told_outputs: tuple[Equation, ...] = ()

    @property
    def values(self) -> tuple[Expr, ...]:
        """Every expression that a tick evaluates."""
        moves = [equation.value for law in self.laws for equation in law.equations]
        begun = (item.value for item in self.resets if not item.is_cut_off)
        return (*moves, *(equation.value for equation in self.outputs), *(item.value for item in self.kept), *begun)

    @property
    def values_between(self) -> tuple[Expr, ...]:
        """Every expression that is evaluated between two sequences."""
        return (*(item.value for law in self.endings for item in law.equations), *(item.value for item in self.beginnings))

    @property
    def in_rounds(self) -> frozenset[str]:
        """The levels that start again at every update of the level that they serve, and move several times in it."""
        return frozenset(law.component for law in self.laws if law.rounds > 1)

    def law(self, component: str) -> Law:
        return next(law for law in self.laws if law.component == component)
