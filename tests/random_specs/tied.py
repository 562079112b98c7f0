"""The table of what a level of an optimizer is made of: it remembers tensors like the weights."""

from __future__ import annotations

from collections.abc import Callable

from tests.random_specs.artist import Artist, Construct
from tests.random_specs.levels import Goal, Sketch
from tests.random_specs.tree import LIKE, Phrase

Parts = Callable[[Artist, Sketch], tuple[Phrase, ...]]


def _row(slot: str, name: str, form: str, parts: Parts, weight: float = 1) -> Construct:
    label = f"{slot}: {name}"
    return Construct(name=name, slot=slot, draw=lambda artist, sketch: Phrase(label, form, (), parts(artist, sketch)), weight=weight)


def _objective(name: str, form: str, parts: Parts, weight: float = 1) -> Construct:
    phrase = _row("tied objective", name, form, parts).draw
    return Construct(name=name, slot="tied objective", draw=lambda artist, sketch: Goal(objective=phrase(artist, sketch)), weight=weight)


def _itself(sketch: Sketch) -> Phrase:
    return Phrase("level: itself", sketch.name, LIKE)


def _and_target(artist: Artist, sketch: Sketch) -> tuple[Phrase, ...]:
    return _itself(sketch), artist.signal(LIKE, 2)


def _any_function(artist: Artist, sketch: Sketch) -> tuple[Phrase, ...]:
    inside = artist.within(own=_itself(sketch))
    drawn = (inside.signal(LIKE, 3) for _ in range(8))
    return (next((phrase for phrase in drawn if inside.around.own in phrase.walk()), _itself(sketch)),)


def _serves(artist: Artist, sketch: Sketch) -> bool:
    """Whether a level is not the weights themselves, which start from what they are and move at every step."""
    return sketch.name != "weights"


def _option(name: str, key: str, text: str) -> Construct:
    phrase = Phrase(f"tied option: {name}", text)
    return Construct(name=name, slot="tied option", draw=lambda artist, sketch: ((key, phrase),), needs=_serves, weight=2.5)


def _clock(text: str, reduction: str = "") -> Construct:
    name = f"{text}, {reduction}" if reduction else text
    label = f"tied clock: {name}"
    options = (("reduce", Phrase(label, reduction)), ("gradient_at", Phrase("option: gradient_at previous", "previous")))
    drawn = (Phrase(label, text), options if reduction else ())
    return Construct(name=name, slot="tied clock", draw=lambda artist, sketch: drawn, needs=_serves, weight=2.4)


TIED = (
    Construct(name="none", slot="tied clock", draw=lambda artist, sketch: (Phrase("every tick", "step"), ()), weight=4),
    _clock("2 steps", "sum"),
    _clock("4 steps", "mean"),
    _clock("step / 2"),
    _option("start from a number", "init", "0.25"),
    _option("start from the weights", "init", "weights"),
    _option("reset by steps", "reset", "4 steps"),
    _objective("inner", "inner({}, {})", _and_target, 4),
    _objective("minus inner", "-inner({}, {})", _and_target, 3),
    _objective("half square", "0.5 * norm2({} - {})", _and_target, 4),
    _objective("log cosh", "sum(log(cosh({} - {})))", _and_target, 3),
    _objective("any function", "0.3 * sum(tanh({}))", _any_function, 3),
    Construct(name="none", slot="tied retention", draw=lambda artist, sketch: None, weight=2),
    _row("tied retention", "number", "{}", lambda artist, sketch: (artist.gate((), 1),), 3),
    _row("tied retention", "number for each entry", "{}", lambda artist, sketch: (artist.gate(LIKE, 1),), 2),
    _row("tied retention", "weight_decay", "weight_decay({}, 0.1)", lambda artist, sketch: (artist.rate(),), 2),
    _row("tied optimizer", "gradient_descent", "gradient_descent({})", lambda artist, sketch: (artist.rate(),), 3),
    _row("tied optimizer", "rate for each entry", "gradient_descent({})", lambda artist, sketch: (artist.rate(LIKE),), 2),
    Construct(name="none", slot="tied option", draw=lambda artist, sketch: (), weight=3),
    Construct(
        name="gradient_at retained",
        slot="tied option",
        draw=lambda artist, sketch: (("gradient_at", Phrase("tied option: gradient_at retained", "retained")),),
        weight=2,
    ),
)  # fmt: skip
