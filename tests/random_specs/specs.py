"""Whole specs: architectures of one to three levels that read each other, and optimizers of up to three levels."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from tests.random_specs.artist import Around, Artist, Construct, Readable
from tests.random_specs.levels import KEEP_MOST, PSEUDO_HUBER, Goal, Sketch, is_quadratic
from tests.random_specs.slow import in_a_layer
from tests.random_specs.tree import LIKE, Definition, Level, Memory, Phrase, Shape, SpecTree, Stream

CURRENT, PREVIOUS = ("the new state", "{}"), ("the state before", "prev({})")
NAMES = (("memory", "trace", "slow"), ("first", "second", "third"), ("fast", "time", "batch"), ("associative", "error", "x"))
"""Names of levels; some are words that the emitted code uses itself."""
SHARE_OF_OPTIMIZERS, SHARE_OF_AFFINE = 0.19, 0.58

Pairs = tuple[tuple[str, str], ...]
Named = tuple[tuple[str, Phrase], ...]


def draw_tree(chance: Random, rows: tuple[Construct, ...], more_ways: Pairs = ()) -> SpecTree:
    """A random spec. `more_ways` are ways to read a level, beyond its new state and the one before the tick."""
    artist = Artist(chance, rows, Around())
    if artist.maybe(SHARE_OF_OPTIMIZERS):
        return without_unused(_optimizer(artist))
    return without_unused(_architecture(artist, more_ways))


def without_unused(tree: SpecTree) -> SpecTree:
    """The spec without what it declares and never names (the first input stays)."""
    while True:
        words = tree.used_words()
        lets = tuple(item for item in tree.lets if item[0] in words)
        if len(lets) == len(tree.lets):
            break
        tree = replace(tree, lets=lets)
    return replace(
        tree,
        inputs=tuple(stream for place, stream in enumerate(tree.inputs) if place == 0 or stream.name in words),
        dims=tuple(item for item in tree.dims if item[0] in {*words, *tree.axes}),
        hyperparameters=tuple(item for item in tree.hyperparameters if item[0] in words),
        definitions=tuple(item for item in tree.definitions if item.name in words),
    )


# --- architectures -----------------------------------------------------------------------------------------------------


def _architecture(artist: Artist, more_ways: Pairs) -> SpecTree:
    axes = artist.pick(((), ("heads",), ("heads",), ("heads", "banks")))
    dims = _dims(artist, axes)
    artist = artist.within(**_streams(artist, tuple(name for name, _ in dims if name != "heads"), axes))
    artist = artist.within(axes=axes, numbers=("temperature",), shares=("share",), steps=("step_size",))
    artist = artist.within(is_affine=artist.maybe(SHARE_OF_AFFINE))
    more_ways = more_ways[:1] if artist.around.is_affine else more_ways
    artist = artist.within(lets=tuple(_abbreviation(artist, name) for name in ("rotated", "gated")))
    names = artist.pick(NAMES)[: artist.pick((1, 1, 1, 2, 2, 3) if artist.around.is_affine else (1, 2, 2, 3, 3))]
    sketches, definitions = _sketches(artist, names)
    levels = [_level(artist, place, sketches, more_ways) for place in range(len(sketches))]
    outputs, lets = _outputs(artist, sketches, more_ways)
    artist.chance.shuffle(levels)
    around = artist.around
    tree = SpecTree(
        name="RandomSpec",
        kind="architecture",
        dims=dims,
        axes=axes,
        inputs=tuple(dict.fromkeys((*around.units, *around.gates, *around.rates))),
        hyperparameters=(("temperature", "0.75"), ("share", "0.8"), ("step_size", "0.2")),
        lets=(*around.lets, *lets),
        definitions=(*definitions, PSEUDO_HUBER, KEEP_MOST),
        levels=tuple(levels),
        outputs=outputs,
        is_affine=around.is_affine,
    )
    return in_a_layer(artist, tree)


def _dims(artist: Artist, axes: Shape) -> Pairs:
    heads = (("heads", "2"),) if axes and artist.maybe(0.6) else ()
    derived = ["2 * d_k", "d_k + d_v", *(["heads * d_k"] * 2 if heads else [])]
    third = (("d_w", artist.pick(derived) if artist.maybe(0.5) else "5"),) if artist.maybe(0.6) else ()
    return (*heads, ("d_k", "4"), ("d_v", "3"), *third)


def _streams(artist: Artist, dims: Shape, axes: Shape) -> dict[str, tuple[object, ...]]:
    def own_axes() -> Shape | None:
        return axes[: artist.chance.randrange(len(axes))] if axes and artist.maybe(0.25) else None

    def stream(name: str, shape: Shape, *bounds: str) -> Stream:
        every = "sequence" if artist.maybe(0.03) else ""
        return Stream(name=name, shape=shape, axes=own_axes(), bounds=(bounds[0], bounds[1]) if bounds else None, every=every)

    first = Stream(name="q", shape=("d_k",))
    units = [first, stream("k", ("d_k",)), stream("p", ("d_k",)), stream("v", ("d_v",)), stream("s", ())]
    units += [stream("w", ("d_w",))] if "d_w" in dims else []
    units += [stream("table", ("d_v", "d_k"))] if artist.maybe(0.8) else []
    gates = [stream("alpha", (), "0", "1"), stream("keep", ("d_k",), "0.5", "1"), stream("fade", ("d_v",), "0", "1")]
    return {"dims": dims, "units": tuple(units), "gates": tuple(gates), "rates": (stream("beta", (), "0", "0.3"),)}


def _abbreviation(artist: Artist, name: str) -> tuple[str, Phrase]:
    shape = artist.vector() if artist.maybe(0.8) else ()
    return name, Phrase("spec: abbreviation", "{}", shape, (artist.signal(shape, 2),))


def _sketches(artist: Artist, names: Shape) -> tuple[list[Sketch], list[Definition]]:
    sketches, definitions = [], []
    for name in names:
        takes, gives, third = artist.vector(), artist.vector(), artist.vector()
        if artist.maybe(0.5):
            takes, gives = ("d_k",), ("d_v",)
        memory, needed = artist.fill("memory", (takes, gives, third))
        sketches.append(Sketch(name=name, memory=memory))
        definitions += [item for item in needed if item not in definitions]
    return sketches, definitions


def _readable(artist: Artist, place: int, sketches: list[Sketch], more_ways: Pairs) -> tuple[Readable, ...]:
    """Earlier levels in every way; later ones as they were before the tick, which closes no circle."""
    later = () if artist.around.is_affine else (PREVIOUS, *more_ways)
    return tuple(
        Readable(name=sketch.name, memory=sketch.memory, ways=ways)
        for other, sketch in enumerate(sketches)
        if other != place and (ways := (CURRENT, PREVIOUS, *more_ways) if other < place else later)
    )


def _level(artist: Artist, place: int, sketches: list[Sketch], more_ways: Pairs) -> Level:
    sketch = sketches[place]
    artist = artist.within(readable=_readable(artist, place, sketches, more_ways))
    goal: Goal = artist.fill("objective", sketch)
    every, clocked = artist.fill("clock", sketch)
    options = dict((*artist.fill("option", sketch), *clocked))
    artist = artist.within(is_quadratic=is_quadratic(sketch, goal, every, options))
    return Level(
        name=sketch.name,
        memory=sketch.memory,
        objective=goal.objective,
        keys=goal.keys,
        values=goal.values,
        retention=artist.fill("retention", sketch),
        options=tuple(options.items()),
        optimizer=artist.fill("optimizer", sketch),
        every=every,
    )


def _outputs(artist: Artist, sketches: list[Sketch], more_ways: Pairs) -> tuple[Named, Named]:
    """Outputs of which each reads some level, and perhaps an abbreviation with a read in it."""
    artist = artist.within(readable=_readable(artist, len(sketches), sketches, more_ways))
    lets = []
    if artist.maybe(0.3):
        lets.append(("answer", Phrase("spec: abbreviation of a read", "{}", sketches[0].answer, (_answer(artist, sketches[0]),))))
        artist = artist.within(lets=(*artist.around.lets, *lets))
    outputs = []
    for name in ("y", "z", "other")[: artist.pick((1, 1, 2, 2, 3))]:
        sketch = artist.pick(sketches)
        own = lets[0][1] if lets and artist.maybe(0.4) else None
        if own is not None and own.shape == sketch.answer:
            answer = Phrase("signal: abbreviation", "answer", own.shape)
        else:
            answer = _answer(artist, sketch)
        inside = artist.within(own=answer)
        drawn = [inside.signal(sketch.answer, 2) for _ in range(4)]
        outputs.append((name, next((phrase for phrase in drawn if inside.around.own in phrase.walk()), inside.around.own)))
    return tuple(outputs), tuple(lets)


def _answer(artist: Artist, sketch: Sketch) -> Phrase:
    word, way = artist.pick((CURRENT, CURRENT, PREVIOUS))
    if sketch.memory.takes is None:
        return Phrase(f"read: {word}", way.format(sketch.name), sketch.answer)
    return Phrase(f"read: {word}", f"{way.format(sketch.name)}({{}})", sketch.answer, (artist.key(sketch.memory.takes),))


# --- optimizers --------------------------------------------------------------------------------------------------------


def _optimizer(artist: Artist) -> SpecTree:
    artist = artist.within(
        is_optimizer=True,
        units=(Stream(name="gradient", shape=LIKE),),
        numbers=("bound",),
        shares=("decay", "mixing"),
        steps=("learning_rate",),
    )
    names = ("momentum", "second")[: artist.pick((0, 1, 2))]
    levels = [_moment(artist, place, names) for place in range(len(names))]
    return SpecTree(
        name="RandomSpec",
        kind="optimizer",
        inputs=artist.around.units,
        hyperparameters=(("learning_rate", "0.05"), ("decay", "0.9"), ("mixing", "0.5"), ("bound", "1.5")),
        lets=(),
        levels=(*levels, _weights(artist, names)),
    )


def _of_weights(artist: Artist, names: Shape, place: int) -> tuple[Readable, ...]:
    memory = Memory(phrase=Phrase("memory: like(weights)", "like(weights)"), tensors=(("", LIKE),))
    ways = {name: (CURRENT, PREVIOUS) if other < place else (PREVIOUS,) for other, name in enumerate((*names, "weights"))}
    own = "weights" if place == len(names) else names[place]
    return tuple(Readable(name=name, memory=memory, ways=found) for name, found in ways.items() if name != own)


def _moment(artist: Artist, place: int, names: Shape) -> Level:
    memory = Memory(phrase=Phrase("memory: like(weights)", "like(weights)"), tensors=(("", LIKE),))
    return _tied(artist, Sketch(name=names[place], memory=memory), _of_weights(artist, names, place))


def _weights(artist: Artist, names: Shape) -> Level:
    memory = Memory(phrase=Phrase("memory: like(weights)", "like(weights)"), tensors=(("", LIKE),))
    level = _tied(artist, Sketch(name="weights", memory=memory), _of_weights(artist, names, len(names)))
    return replace(level, memory=None)


def _tied(artist: Artist, sketch: Sketch, readable: tuple[Readable, ...]) -> Level:
    artist = artist.within(readable=readable)
    goal: Goal = artist.fill("tied objective", sketch)
    every, needed = artist.fill("tied clock", sketch)
    options = dict(artist.fill("tied option", sketch)) | dict(needed)
    return Level(
        name=sketch.name,
        memory=sketch.memory,
        objective=goal.objective,
        retention=artist.fill("tied retention", sketch),
        optimizer=artist.fill("tied optimizer", sketch),
        options=tuple(options.items()),
        every=every,
    )
