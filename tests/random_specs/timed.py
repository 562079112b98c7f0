"""Rows about time: previous values of streams, periods, held reads, resets, counts and starts. Drawn where nlc compiles them."""

from __future__ import annotations

from collections.abc import Callable

from tests.random_specs.artist import Artist, Construct
from tests.random_specs.expressions import leaf
from tests.random_specs.levels import Sketch
from tests.random_specs.tree import Phrase, Shape

CLOCKS = (Construct(name="none", slot="clock", draw=lambda artist, sketch: (Phrase("every tick", "token"), ()), weight=8),)
"""Every token: what is always compiled."""

HELD = (("the held state", "hold({}, 2 tokens)"), ("the state held for 3 tokens", "hold({}, 3 tokens)"))
"""Ways to read a level, beside its new state and the one before the tick; the first fits the periods of the rows below."""


def _previous(artist: Artist, shape: Shape) -> list[str]:
    around = artist.around
    return [] if around.is_optimizer else [f"prev({stream.name})" for stream in around.streams(shape, "units", "gates")]


def _count(artist: Artist, shape: Shape) -> list[str]:
    return ["0.3 / tick"] if shape == () and not artist.around.is_optimizer and not artist.around.is_affine else []


def _period(count: int, reduction: str) -> Construct:
    label = f"clock: {count} tokens, {reduction}"
    options = (("reduce", Phrase(label, reduction)), ("gradient_at", Phrase("option: gradient_at previous", "previous")))
    return Construct(
        name=f"{count} tokens, {reduction}",
        slot="clock",
        draw=lambda artist, sketch: (Phrase(label, f"{count} tokens"), options),
        needs=_is_plain,
        weight=3.5,
    )


def _option(name: str, key: str, text: str, needs: Callable[[Artist, Sketch], bool]) -> Construct:
    return Construct(name=name, slot="option", draw=lambda artist, sketch: ((key, Phrase(f"option: {name}", text)),), needs=needs, weight=2)


def _is_plain(artist: Artist, sketch: Sketch) -> bool:
    return not artist.around.is_optimizer


TIMED = (
    leaf("signal", "previous value of a stream", _previous, 1.5),
    leaf("rate", "count of updates", _count, 1),
    _period(2, "sum"),
    _period(4, "mean"),
    _option("reset by tokens", "reset", "8 tokens", _is_plain),
    _option("start from a number", "init", "0.25", _is_plain),
    _option("gradient held for 2 tokens", "gradient_at", "hold(2 tokens)", _is_plain),
)
"""The rows about time."""
