"""Small systems in a few words, with the text and spans that a user's spec would have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from nlc.ir.algebra import ONE, Expr, Gradient, Norm, State, When
from nlc.ir.build import add, dot
from nlc.ir.dims import LIKE_WEIGHTS, Shape
from nlc.ir.model import STEP, Clock, ClosedForm, Component, Family, GradientDescent, Model, Optimizer
from nlc.source import Source, Span
from tests.models import GRADIENT

SHAPE: Shape = (LIKE_WEIGHTS,)

ALWAYS, NEVER, SEQUENCE = Clock(Family.ALWAYS), Clock(Family.NEVER), Clock(Family.SEQUENCE)

WORD = re.compile(r"(?:(?P<how>prev|hold|gradient)\()?(?P<name>[\w.]+)")
WHEN = {None: When.CURRENT, "prev": When.PREVIOUS, "hold": When.HELD}


def tokens(count: int, updates: int = 1) -> Clock:
    return Clock(Family.TOKEN, Fraction(count, updates))


def steps(count: int, updates: int = 1) -> Clock:
    return Clock(Family.STEP, Fraction(count, updates))


@dataclass(frozen=True)
class Entry:
    """A level: its clock, and words that it reads: `x`, `x(k)`, `prev(x)`, `hold(x)`, `gradient(x)`."""

    name: str
    every: Clock = STEP
    objective: str = ""
    follows: str | None = None
    retention: str = ""
    rate: str = ""
    init: str = ""
    fields: dict[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        words = {"objective": self.objective, "follows": self.follows, "retention": self.retention, "rate": self.rate, "init": self.init}
        lines = [f"  {self.name}:", *(f"    {key}: {value}" for key, value in words.items() if value), f"    every: {self.every}"]
        return "\n".join(lines)


def entry(name: str, every: Clock = STEP, objective: str = "", **words: Any) -> Entry:
    """An entry; what is not a text of reads becomes a field of the component."""
    texts = {key: words.pop(key) for key in ("follows", "retention", "rate", "init") if key in words}
    return Entry(name, every, objective, **texts, fields=words)


def system(*entries: Entry, file: str = "specs/system.yaml", **options: Any) -> Model:
    source = Source(file, "\n".join(["levels:", *(item.text() for item in entries), ""]))
    components = tuple(_component(item, source) for item in entries)
    return Model(name="System", kind="architecture", components=components, **options)


def _component(item: Entry, source: Source) -> Component:
    start = source.text.find(f"  {item.name}:\n")
    every = source.text.find("every: ", start)

    def objective(part: str, words: str) -> Expr:
        return dot(State(item.name, "", SHAPE, When.FITTED), add(GRADIENT, *_reads(part, words, source, start)))

    def scalar(part: str, words: str) -> Expr:
        return add(ONE, *(Norm(read) for read in _reads(part, words, source, start)))

    optimizer: Optimizer = ClosedForm() if item.every.family is Family.ALWAYS else GradientDescent(scalar("rate", item.rate))
    fields: dict[str, Any] = {
        "name": item.name,
        "states": (),
        "objective": objective("objective", item.objective),
        "follows": objective("objective", item.objective) if item.follows is None else objective("follows", item.follows),
        "optimizer": optimizer,
        "every": item.every,
        "retention": (scalar("retention", item.retention),) if item.retention else (),
        "init": tuple(_reads("init", item.init, source, start)),
        "span": Span(source, start + 2, start + 2 + len(item.name)),
        "every_span": Span(source, every, every + len(f"every: {item.every}")),
    }
    return Component(**{**fields, **item.fields})


def _reads(part: str, words: str, source: Source, start: int) -> Iterator[Expr]:
    line = source.text.find(f"    {part}: {words}\n", start) + len(f"    {part}: ")
    for match in WORD.finditer(re.sub(r"(?<=\w)\(k\)", "   ", words)):
        name = match["name"]
        offset = line + (match.start() if match["how"] else match.start("name"))
        end = line + match.end() + (1 if match["how"] else 0)
        span = Span(source, offset, end)
        if match["how"] == "gradient":
            yield Gradient(name, "", SHAPE, span)
        else:
            yield State(name, "", SHAPE, WHEN[match["how"]], 16 if match["how"] == "hold" else 0, span)
