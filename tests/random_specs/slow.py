"""A spec of levels inside a sequence -> the same in a layer: projections, heads that are split and joined, parts of tokens, named counts.

What is drawn before stays as it was; each way to widen a spec is a row that may be taken, of the slot "wider", and hands on the wider spec.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from tests.random_specs.artist import Artist, Construct
from tests.random_specs.tree import Level, Memory, Phrase, SpecTree, Stream

SHARE_OF_LAYERS = 0.62
"""How many of the architectures are made wider."""

READS_OF_STREAMS = ("signal: stream", "key: stream", "rate: stream", "gate: stream", "signal: stream with a range")
SEVERAL_LEVELS = ("optimizer: momentum", "optimizer: heavy_ball")
"""Optimizers that are levels of their own."""

Clock = tuple[Phrase, tuple[tuple[str, Phrase], ...]]


def in_a_layer(artist: Artist, tree: SpecTree) -> SpecTree:
    """The spec with up to three rows more, or as it was."""
    if not artist.maybe(SHARE_OF_LAYERS):
        return tree
    for _ in range(artist.pick((1, 2, 2, 3))):
        tree = artist.fill("wider", tree)
    return tree


# --- projections -------------------------------------------------------------------------------------------------------


def _streams_read(tree: SpecTree) -> list[Stream]:
    """The vectors that are read where a phrase is nothing else, so that something can stand in their place."""
    read = {phrase.form for phrase in tree.phrases() if phrase.construct in READS_OF_STREAMS}
    return [stream for stream in tree.inputs if len(stream.shape) == 1 and stream.name in read and stream.bounds is None]


def _projected(artist: Artist, tree: SpecTree) -> SpecTree:
    """A stream goes through a slow level wherever it is read."""
    stream = artist.pick(_not_projected(tree))
    name = f"project_{stream.name}"
    shapes = (stream.shape, stream.shape, artist.pick(((stream.shape), ("d_k",), ("d_v",))))
    memory, needed = artist.within(is_affine=False).fill("memory", shapes)
    every, period = artist.fill("slow clock", memory)
    moved = artist.fill("slow optimizer", every) or ()
    start = artist.fill("slow start", memory)
    level = Level(name=name, memory=memory, options=(*start, *period), every=every, **dict(moved))
    form = f"{{}} + {name}" if memory.takes is None else f"{name}({{}})"

    def through(phrase: Phrase) -> Phrase:
        if phrase.form != stream.name or phrase.construct not in READS_OF_STREAMS:
            return phrase
        return Phrase("read: a slow level", form, stream.shape, (phrase,))

    wider = tree.mapped(through)
    definitions = tuple(dict.fromkeys((*tree.definitions, *needed)))
    outer = tree.outer or (artist.fill("outer", tree) if every.text != "never" else None)
    return replace(wider, levels=(*wider.levels, level), definitions=definitions, outer=outer)


def _not_projected(tree: SpecTree) -> list[Stream]:
    names = {level.name for level in tree.levels}
    return [stream for stream in _streams_read(tree) if f"project_{stream.name}" not in names]


def _can_be_projected(artist: Artist, tree: SpecTree) -> bool:
    return bool(_not_projected(tree)) and len(tree.levels) < 5


def _slow_clock(name: str, text: str, weight: float, *options: tuple[str, str]) -> Construct:
    label = f"slow clock: {name}"
    drawn: Clock = (Phrase(label, text), tuple((key, Phrase(label, value)) for key, value in options))
    return Construct(name=name, slot="slow clock", draw=lambda artist, memory: drawn, weight=weight)


def _slow_optimizer(name: str, text: str, retention: str = "", weight: float = 1) -> Construct:
    label = f"slow optimizer: {name}"
    pairs = {"objective": Phrase(label, "task"), "optimizer": Phrase(label, text)}
    if retention:
        pairs["retention"] = Phrase(label, retention)
    return Construct(name=name, slot="slow optimizer", draw=lambda artist, every: tuple(pairs.items()), needs=_moves, weight=weight)


def _moves(artist: Artist, every: Phrase) -> bool:
    return every.text != "never"


def _slow_start(name: str, text: str, needs: Callable[..., bool] = lambda artist, memory: True) -> Construct:
    phrase = Phrase(f"slow start: {name}", text)
    return Construct(name=name, slot="slow start", draw=lambda artist, memory: (("init", phrase),), needs=needs)


def _is_square(artist: Artist, memory: Memory) -> bool:
    shapes = [shape for _, shape in memory.tensors]
    return len(shapes) == 1 and len(shapes[0]) == 2 and shapes[0][0] == shapes[0][1]


def _outer(name: str, text: str, weight: float = 1) -> Construct:
    phrase = Phrase(f"outer: {name}", text)
    return Construct(name=name, slot="outer", draw=lambda artist, tree: phrase, weight=weight)


# --- further keys of fast levels ---------------------------------------------------------------------------------------


def _fast(tree: SpecTree) -> list[Level]:
    """The levels that move once at every token."""
    return [level for level in tree.levels if level.every.construct == "every tick"]


def _with_key(key: str, label: str, text: str, may: Callable[[Artist, Level], bool], weight: float = 1) -> Construct:
    """One more key of a level that moves at every token."""

    def candidates(artist: Artist, tree: SpecTree) -> list[Level]:
        return [level for level in _fast(tree) if may(artist, level) and key not in dict(level.options)]

    def draw(artist: Artist, tree: SpecTree) -> SpecTree:
        chosen = artist.pick(candidates(artist, tree))
        wider = replace(chosen, options=(*chosen.options, (key, Phrase(f"wider: {label}", text))))
        return _changed(tree, wider)

    return Construct(name=label, slot="wider", draw=draw, needs=lambda artist, tree: bool(candidates(artist, tree)), weight=weight)


def _changed(tree: SpecTree, *levels: Level) -> SpecTree:
    """The spec with these levels in place of those of the same names."""
    named = {level.name: level for level in levels}
    return replace(tree, levels=tuple(named.get(level.name, level) for level in tree.levels))


def _is_alone(artist: Artist, level: Level) -> bool:
    """Whether its optimizer has no levels of its own."""
    return level.optimizer is not None and level.optimizer.construct not in SEVERAL_LEVELS


def _can_be_cut_off(artist: Artist, level: Level) -> bool:
    """What is cut off after every update or two has no chunks."""
    return _is_alone(artist, level) and not artist.around.is_affine


def _begins_with_a_sequence(artist: Artist, level: Level) -> bool:
    return "reset" not in dict(level.options)


# --- several updates a token, and counts with names --------------------------------------------------------------------


def _in_parts(count: str) -> Callable[[Artist, SpecTree], SpecTree]:
    """A level moves several times a token; where a parallel form is wanted, all of them do."""

    def draw(artist: Artist, tree: SpecTree) -> SpecTree:
        clock, chosen = Phrase(f"wider: token / {count}", f"token / {count}"), _fast(tree)
        chosen = chosen if artist.around.is_affine else [artist.pick(chosen)]
        wider = _changed(tree, *(replace(level, every=clock) for level in chosen))
        inputs = tuple(replace(item, every=clock.form) if not item.every and artist.maybe(0.4) else item for item in tree.inputs)
        numbers = (*tree.hyperparameters, ("parts", "2")) if count == "parts" else tree.hyperparameters
        return replace(wider, inputs=inputs, hyperparameters=numbers)

    return draw


def _can_be_parted(artist: Artist, tree: SpecTree) -> bool:
    fast, others = _fast(tree), [level for level in tree.levels if not level.name.startswith("project_")]
    are_enough = len(fast) == len(others) if artist.around.is_affine else bool(fast)
    are_enough = are_enough and not any("window" in dict(level.options) for level in tree.levels)
    return are_enough and not any(stream.every.startswith("token /") for stream in tree.inputs)


def _named_count(artist: Artist, tree: SpecTree) -> SpecTree:
    """Counts of tokens as hyperparameters."""
    names = {"2 tokens": "period", "4 tokens": "lifetime", "8 tokens": "lifetime"}

    def named(phrase: Phrase) -> Phrase:
        if phrase.form not in names:
            return phrase
        return replace(phrase, construct="wider: count with a name", form=f"{names[phrase.form]} tokens")

    wider = replace(tree, levels=tuple(replace(level.mapped(named), every=named(level.every)) for level in tree.levels))
    counts = (("period", "2"), ("lifetime", "4" if "4 tokens" in _counts(tree) else "8"))
    return replace(wider, hyperparameters=(*tree.hyperparameters, *counts))


def _counts(tree: SpecTree) -> set[str]:
    return {phrase.form for phrase in tree.phrases()}


def _has_counts(artist: Artist, tree: SpecTree) -> bool:
    found = _counts(tree)
    return bool(found & {"2 tokens", "4 tokens", "8 tokens"}) and not {"4 tokens", "8 tokens"} <= found


# --- windows -----------------------------------------------------------------------------------------------------------


def _windowed(artist: Artist, tree: SpecTree) -> SpecTree:
    """A level that fits its last tokens together."""
    level = artist.pick(_can_have_windows(tree))
    assert level.objective is not None
    weighed = Phrase("wider: window", f"sum({artist.pick(('0.6 ** age', '0.5'))} * {{}}, over = window)", (), (level.objective,))
    tokens = Phrase("wider: window", artist.pick(("2 tokens", "3 tokens")))
    return _changed(tree, replace(level, objective=weighed, options=(*level.options, ("window", tokens))))


def _can_have_windows(tree: SpecTree) -> list[Level]:
    """The levels of tokens whose data are streams: of what moves inside the sequence no older values are kept."""
    if any(stream.every.startswith("token /") for stream in tree.inputs):
        return []
    return [level for level in _fast(tree) if level.every.form == "token" and _takes_steps(level) and _has_data(tree, level)]


def _takes_steps(level: Level) -> bool:
    """Whether a level takes a plain step at every token, by a gradient at its own state of this token."""
    is_explicit = level.optimizer is not None and "proximal" not in level.optimizer.construct
    held = dict(level.options).get("gradient_at", Phrase("", "previous")).form.startswith("hold")
    return is_explicit and not held and "window" not in dict(level.options)


def _has_data(tree: SpecTree, level: Level) -> bool:
    """Whether an objective reads some stream of tokens, and of levels inside the sequence the one that it is for alone."""
    parts = [phrase for value in (level.objective, level.keys, level.values) if value is not None for phrase in value.walk()]
    words = {word for phrase in parts for word in re.findall(r"[a-z]\w*", phrase.form)}
    words |= {word for name, value in tree.lets if name in words for word in re.findall(r"[a-z]\w*", value.text)}
    others = {item.name for item in tree.levels if item.name != level.name and not item.name.startswith("project_")}
    own_before = any(f"prev({level.name}" in phrase.form for phrase in parts)
    return any(stream.name in words and not stream.is_whole for stream in tree.inputs) and not words & others and not own_before


# --- heads -------------------------------------------------------------------------------------------------------------


def _split(artist: Artist, tree: SpecTree) -> SpecTree:
    """A stream of vectors for each head is cut out of a wide one."""
    stream = artist.pick(_splittable(tree))
    wide = Stream(name=f"wide_{stream.name}", shape=(f"d_{stream.name}_of_all",), axes=())
    parts = Phrase("wider: split", f"split({wide.name}, heads)", stream.shape)
    sizes = (*tree.dims, *(() if "heads" in dict(tree.dims) else (("heads", "2"),)), (wide.shape[0], f"heads * {stream.shape[0]}"))
    wider = tree.mapped(lambda phrase: parts if phrase.form == stream.name and phrase.construct in READS_OF_STREAMS else phrase)
    return replace(wider, dims=sizes, inputs=(*tree.inputs, wide))


def _splittable(tree: SpecTree) -> list[Stream]:
    names = {stream.name for stream in tree.inputs}
    return [
        stream
        for stream in _streams_read(tree)
        if tree.axes == ("heads",) and stream.axes is None and not stream.every and f"wide_{stream.name}" not in names
    ]


def _can_be_split(artist: Artist, tree: SpecTree) -> bool:
    return bool(_splittable(tree))


def _joined(artist: Artist, tree: SpecTree) -> SpecTree:
    """The answers of all heads become one vector."""
    place = artist.pick(_joinable(tree))
    name, value = tree.outputs[place]
    output = (name, Phrase("wider: join", "join({}, heads)", (), (value,)))
    sizes = tree.dims if "heads" in dict(tree.dims) else (*tree.dims, ("heads", "2"))
    return replace(tree, dims=sizes, outputs=(*tree.outputs[:place], output, *tree.outputs[place + 1 :]))


def _joinable(tree: SpecTree) -> list[int]:
    return [
        place
        for place, (_, value) in enumerate(tree.outputs)
        if tree.axes == ("heads",) and len(value.shape) == 1 and value.construct != "wider: join"
    ]


WIDER = (
    Construct(name="none", slot="wider", draw=lambda artist, tree: tree, weight=0.01),
    Construct(name="projection", slot="wider", draw=_projected, needs=_can_be_projected, weight=6),
    Construct(name="split", slot="wider", draw=_split, needs=_can_be_split, weight=9),
    Construct(name="join", slot="wider", draw=_joined, needs=lambda artist, tree: bool(_joinable(tree)), weight=6),
    Construct(name="token / 2", slot="wider", draw=_in_parts("2"), needs=_can_be_parted, weight=4.5),
    Construct(name="token / parts", slot="wider", draw=_in_parts("parts"), needs=_can_be_parted, weight=4.5),
    Construct(name="window", slot="wider", draw=_windowed, needs=lambda artist, tree: bool(_can_have_windows(tree)), weight=6),
    Construct(name="count with a name", slot="wider", draw=_named_count, needs=_has_counts, weight=3),
    _with_key("init", "learned start", "learned", _begins_with_a_sequence, 4),
    _with_key("backprop", "backprop full", "full", _is_alone, 3),
    _with_key("backprop", "backprop none", "none", _can_be_cut_off, 13),
    _with_key("backprop", "backprop truncated", "truncated(2 updates)", _can_be_cut_off, 11),
    _slow_clock("step", "step", 3),
    _slow_clock("2 steps, sum", "2 steps", 1.6, ("reduce", "sum")),
    _slow_clock("4 steps, mean", "4 steps", 1.6, ("reduce", "mean")),
    _slow_clock("never", "never", 1.6),
    Construct(name="none", slot="slow optimizer", draw=lambda artist, every: (), weight=2),
    _slow_optimizer("gradient_descent with retention", "gradient_descent(0.05)", "0.9"),
    _slow_optimizer("momentum", "momentum(learning_rate = 0.05, decay = 0.5)"),
    _slow_optimizer("adamw", "optimizers/adamw(0.01)"),
    Construct(name="none", slot="slow start", draw=lambda artist, memory: (), weight=1.5),
    _slow_start("number", "0.25"),
    _slow_start("eye", "0.5 * eye", _is_square),
    Construct(name="none", slot="outer", draw=lambda artist, tree: None, weight=1),
    _outer("gradient_descent", "gradient_descent(0.05)"),
    _outer("heavy_ball", "optimizers/heavy_ball(learning_rate = 0.05, decay = 0.5)"),
)  # fmt: skip
"""The rows about what stands around fast levels."""
