"""Rows about time: previous values of streams, periods, held reads, resets, counts and starts. Drawn where nlc compiles them."""

from __future__ import annotations

from collections.abc import Callable

from tests.random_specs.artist import Artist, Construct, Readable
from tests.random_specs.expressions import leaf
from tests.random_specs.levels import Sketch
from tests.random_specs.tree import Phrase, Shape

Options = tuple[tuple[str, Phrase], ...]
"""Further keys of a level."""

CLOCKS = (Construct(name="none", slot="clock", draw=lambda artist, sketch: (Phrase("every tick", "token"), ()), weight=8),)
"""Every token: what is always compiled."""

HELD = (("the held state", "hold({}, 2 tokens)"), ("the state held for 3 tokens", "hold({}, 3 tokens)"))
"""Ways to read a level, beside its new state and the one before the tick; the first fits the periods of the rows below."""


def _previous(artist: Artist, shape: Shape) -> list[str]:
    return [f"prev({stream.name})" for stream in artist.around.streams(shape, "units", "gates") if not stream.is_whole]


def _older(form: str) -> Callable[[Artist, Shape], list[str]]:
    """Older values of streams of tokens."""

    def texts(artist: Artist, shape: Shape) -> list[str]:
        streams = () if artist.around.is_optimizer else artist.around.streams(shape, "units", "gates")
        return [form.format(stream.name) for stream in streams if not stream.is_whole]

    return texts


def _count(artist: Artist, shape: Shape) -> list[str]:
    return ["0.3 / tick"] if shape == () and not artist.around.is_affine else []


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


def _of_sequences(reduction: str) -> Construct:
    label = f"clock: sequence, {reduction}"
    start = ("init", Phrase("option: start from a number", "0.25"))
    options = (("reduce", Phrase(label, reduction)), ("gradient_at", Phrase("option: gradient_at previous", "previous")), start)
    lasting = (*options, ("reset", Phrase("option: never reset", "never")))
    return Construct(
        name=f"sequence, {reduction}",
        slot="clock",
        draw=lambda artist, sketch: (Phrase(label, "sequence"), lasting),
        needs=_is_free,
        weight=1.1,
    )


def _option(name: str, key: str, text: str, needs: Callable[[Artist, Sketch], bool], weight: float = 2) -> Construct:
    def draw(artist: Artist, sketch: Sketch) -> Options:
        return ((key, Phrase(f"option: {name}", text)),)

    return Construct(name=name, slot="option", draw=draw, needs=needs, weight=weight)


def _is_plain(artist: Artist, sketch: Sketch) -> bool:
    return not artist.around.is_optimizer


def _is_free(artist: Artist, sketch: Sketch) -> bool:
    """Not in a spec that is drawn to get a parallel form: a law that changes from token to token has none."""
    return _is_plain(artist, sketch) and not artist.around.is_affine


def _start_from_streams(artist: Artist, sketch: Sketch) -> Options:
    start = artist.within(readable=()).signal(sketch.shape, 2)
    return (("init", Phrase("option: start from streams", "{}", sketch.shape, (start,))),)


def _start_from_another(artist: Artist, sketch: Sketch) -> Options:
    other = artist.pick(_alike(artist, sketch))
    return (
        ("init", Phrase("option: start from another level", other.name)),
        ("reset", Phrase("option: start from another level", "4 tokens")),
    )


def _alike(artist: Artist, sketch: Sketch) -> list[Readable]:
    """The earlier levels of the same tensors: starts among them close no ring."""
    return [
        item
        for item in artist.around.readable
        if any(form == "{}" for _, form in item.ways) and item.memory.tensors == sketch.memory.tensors
    ]


def _has_one_tensor(artist: Artist, sketch: Sketch) -> bool:
    return _is_free(artist, sketch) and not sketch.memory.is_network


def _has_another_alike(artist: Artist, sketch: Sketch) -> bool:
    return _is_plain(artist, sketch) and bool(_alike(artist, sketch))


TIMED = (
    leaf("signal", "previous value of a stream", _previous, 1.5),
    leaf("signal", "stream two tokens before", _older("delay({}, 2 tokens)"), 3),
    leaf("signal", "function of a stream before", _older("delay(cos({}), 1 token)"), 3),
    leaf("rate", "count of updates", _count, 1),
    _period(2, "sum"),
    _period(4, "mean"),
    _option("reset by tokens", "reset", "8 tokens", _is_plain),
    _of_sequences("sum"),
    _of_sequences("mean"),
    _option("never reset", "reset", "never", _is_plain),
    _option("start from a number", "init", "0.25", _is_plain),
    Construct(name="start from streams", slot="option", draw=_start_from_streams, needs=_has_one_tensor, weight=5),
    Construct(name="start from another level", slot="option", draw=_start_from_another, needs=_has_another_alike, weight=30),
    _option("gradient held for 2 tokens", "gradient_at", "hold(2 tokens)", _is_plain, weight=4),
)
"""The rows about time."""
