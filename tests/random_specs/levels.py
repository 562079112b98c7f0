"""The table of what a level is made of: memories, objectives, retentions, optimizers and further keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.random_specs.artist import Artist, Construct
from tests.random_specs.expressions import can_read_another, read_of_another
from tests.random_specs.tree import Definition, Memory, Phrase, Shape

ACTIVATIONS = ("gelu", "silu", "relu", "tanh", "sigmoid", "softplus", "sin")


Needs = Callable[..., bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sketch:
    """A level while it is drawn: its name and memory, and how its own state is read."""

    name: str
    memory: Memory

    @property
    def answer(self) -> Shape:
        return self.memory.tensors[0][1] if self.memory.gives is None else self.memory.gives

    @property
    def shape(self) -> Shape:
        """The shape of its only tensor; () when it has several."""
        return () if self.memory.is_network else self.memory.tensors[0][1]

    def read(self, artist: Artist, way: str = "{}") -> Phrase:
        """The memory asked with a key, or itself when it is not asked."""
        name = way.format(self.name)
        if self.memory.takes is None:
            return Phrase("level: itself", name, self.answer)
        return Phrase("level: read", f"{name}({{}})", self.answer, (artist.key(self.memory.takes),))


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """An objective with the keys and values that it names."""

    objective: Phrase
    keys: Phrase | None = None
    values: Phrase | None = None


Parts = Callable[[Artist, Sketch], tuple[Phrase, ...]]

# --- memories: from a shape to a memory, with its definition -----------------------------------------------------------

DrawnMemory = tuple[Memory, tuple[Definition, ...]]
Request = tuple[Shape, Shape, Shape]
"""What a memory takes and gives, and a third size."""


def _memory(name: str, form: Callable[[Request], str], tensors: Callable[[Request], tuple[tuple[str, Shape], ...]]) -> Construct:
    def draw(artist: Artist, request: Request) -> DrawnMemory:
        text = form(request).replace("ACTIVATION", artist.pick(ACTIVATIONS))
        memory = Memory(phrase=Phrase(f"memory: {name}", text), tensors=tensors(request), takes=request[0], gives=request[1])
        return memory, ()

    return Construct(name=name, slot="memory", draw=draw)


def _vector(artist: Artist, request: Request) -> DrawnMemory:
    return Memory(phrase=Phrase("memory: vector", f"vector({request[1][0]})"), tensors=(("", request[1]),)), ()


def _scalar(artist: Artist, request: Request) -> DrawnMemory:
    return Memory(phrase=Phrase("memory: scalar", "scalar"), tensors=(("", ()),)), ()


def _is_any(artist: Artist, request: Request) -> bool:
    return True


def _defined(name: str, states: tuple[tuple[str, str], ...], read: str, needs: Needs = _is_any, weight: float = 1) -> Construct:
    """A memory of the spec's own; the states are sizes in its parameters `rows` and `columns`."""
    body = ("parameters: [rows, columns]", f"states: {{{', '.join(f'{part}: [{sizes}]' for part, sizes in states)}}}", f"read: {read}")

    def draw(artist: Artist, request: Request) -> DrawnMemory:
        (columns,), (rows,), _ = request
        sizes = {"rows": rows, "columns": columns}
        shapes = tuple((part if len(states) > 1 else "", tuple(sizes[word] for word in text.split(", ") if word)) for part, text in states)
        phrase = Phrase(f"memory: {name}", f"{name}({rows}, {columns})")
        memory = Memory(phrase=phrase, tensors=shapes, takes=request[0], gives=request[1])
        return memory, (Definition(name=name, construct=f"memory: {name}", body=body),)

    return Construct(name=name, slot="memory", draw=draw, needs=needs, weight=weight)


def _is_free(artist: Artist, request: Request) -> bool:
    return not artist.around.is_affine


def _is_free_square(artist: Artist, request: Request) -> bool:
    return _is_free(artist, request) and request[0] == request[1]


def _free(row: Construct) -> Construct:
    return Construct(name=row.name, slot=row.slot, draw=row.draw, needs=_is_free, weight=2.5)


MEMORIES = (
    Construct(name="vector", slot="memory", draw=_vector, weight=2),
    Construct(name="scalar", slot="memory", draw=_scalar, weight=1),
    Construct(
        name="matrix",
        slot="memory",
        draw=_memory("matrix", lambda r: f"matrix({r[1][0]}, {r[0][0]})", lambda r: (("", (*r[1], *r[0])),)).draw,
        weight=6,
    ),
    _memory("mlp of one layer", lambda r: f"mlp({r[0][0]}, {r[1][0]})", lambda r: (("", (*r[1], *r[0])),)),
    _free(
        _memory(
            "mlp of two layers",
            lambda r: f"mlp({r[0][0]}, {r[2][0]}, {r[1][0]}, activation = ACTIVATION)",
            lambda r: (("W1", (*r[2], *r[0])), ("W2", (*r[1], *r[2]))),
        )
    ),
    _free(
        _memory(
            "mlp of three layers",
            lambda r: f"mlp({r[0][0]}, 2, {r[2][0]}, {r[1][0]}, activation = ACTIVATION)",
            lambda r: (("W1", ("2", *r[0])), ("W2", (*r[2], "2")), ("W3", (*r[1], *r[2]))),
        )
    ),
    _defined("linear_memory", (("W", "rows, columns"),), "(x) -> W @ (2 * x)"),
    _defined("biased_memory", (("W", "rows, columns"), ("bias", "rows")), "(x) -> W @ x + bias", _is_free, 2),
    _defined("scaled_memory", (("W", "rows, columns"), ("scale", "")), "(x) -> tanh(scale + 0.5) * (W @ x)", _is_free, 2.5),
    _defined("residual_memory", (("W", "rows, columns"),), "(x) -> x + W @ tanh(x)", _is_free_square, 16),
)

# --- objectives: from a sketch to a goal -------------------------------------------------------------------------------


def _named(name: str, text: str, *, affine: bool, weight: float = 1, takes_numbers: bool = True) -> Construct:
    """An objective that names the prediction and the value."""

    def draw(artist: Artist, sketch: Sketch) -> Goal:
        keys = None if sketch.memory.takes is None else artist.key(sketch.memory.takes)
        values = artist.signal(sketch.answer, 2)
        if artist.maybe(0.1):
            values = Phrase("signal: stop_gradient", "stop_gradient({})", sketch.answer, (values,))
        return Goal(objective=Phrase(f"objective: {name}", text), keys=keys, values=values)

    return Construct(name=name, slot="objective", draw=draw, needs=_when(affine, takes_numbers), weight=weight)


def _when(affine: bool, takes_numbers: bool) -> Callable[[Artist, Sketch], bool]:
    """The norm of a number is not written so."""
    return lambda artist, sketch: (affine or not artist.around.is_affine) and (takes_numbers or bool(sketch.answer))


def _written(name: str, form: str, parts: Parts, *, affine: bool, weight: float = 1, takes_numbers: bool = True) -> Construct:
    """An objective written out, in parts."""
    label = f"objective: {name}"
    return Construct(
        name=name,
        slot="objective",
        draw=lambda artist, sketch: Goal(objective=Phrase(label, form, (), parts(artist, sketch))),
        needs=_when(affine, takes_numbers),
        weight=weight,
    )


def _read_and_value(artist: Artist, sketch: Sketch) -> tuple[Phrase, ...]:
    return sketch.read(artist), artist.signal(sketch.answer, 2)


def _elsewhere(artist: Artist, sketch: Sketch) -> tuple[Phrase, ...]:
    return sketch.read(artist), artist.gate(()), sketch.read(artist), artist.signal(sketch.answer, 1)


def _before(artist: Artist, sketch: Sketch) -> tuple[Phrase, ...]:
    return sketch.read(artist), sketch.read(artist, "prev({})"), artist.signal(sketch.answer, 1)


def _two_writes(artist: Artist, sketch: Sketch) -> tuple[Phrase, ...]:
    return (*_read_and_value(artist, sketch), artist.gate(()), *_read_and_value(artist, sketch))


def _whole_tensor(artist: Artist, sketch: Sketch) -> tuple[Phrase, ...]:
    part, shape = artist.pick(sketch.memory.tensors)
    tensor = Phrase("level: tensor", f"{sketch.name}.{part}" if part else sketch.name, shape)
    return (*_read_and_value(artist, sketch), tensor)


def _any_function(artist: Artist, sketch: Sketch) -> tuple[Phrase, ...]:
    """A random expression that reads the memory somewhere: any function that is well-typed."""
    inside = artist.within(own=sketch.read(artist))
    drawn = (inside.signal(inside.vector() if artist.maybe(0.3) else sketch.answer, 3) for _ in range(8))
    return (next((phrase for phrase in drawn if inside.around.own in phrase.walk()), sketch.read(artist)),)


def _outer_write(artist: Artist, sketch: Sketch) -> tuple[Phrase, ...]:
    return Phrase("level: tensor", sketch.name, sketch.shape), artist.signal(sketch.shape, 2)


def _answer_of_another(artist: Artist, sketch: Sketch) -> tuple[Phrase, ...]:
    return (*_read_and_value(artist, sketch), read_of_another(artist, sketch.answer))


FAR = "{} - 0.1"


def _three_times(artist: Artist, sketch: Sketch) -> tuple[Phrase, ...]:
    return (sketch.read(artist),) * 3


def _any_sketch(artist: Artist, sketch: Sketch) -> bool:
    return True


def _row(slot: str, name: str, form: str, parts: Parts, needs: Needs = _any_sketch, weight: float = 1) -> Construct:
    """A row for a phrase with parts."""
    label = f"{slot}: {name}"

    def draw(artist: Artist, sketch: Sketch) -> Phrase:
        return Phrase(label, form, (), parts(artist, sketch))

    return Construct(name=name, slot=slot, draw=draw, needs=needs, weight=weight)


OBJECTIVES = (
    _named("l2", "l2", affine=True, weight=3),
    _named("dot", "dot", affine=True, weight=3),
    _named("l1", "l1", affine=False, weight=18),
    _named("huber", "huber(0.5)", affine=False, weight=24, takes_numbers=False),
    _named("log_cosh", "log_cosh", affine=False, weight=21),
    _named("library in an expression", "0.5 * l2 + 0.1 * norm2(prediction)", affine=True, weight=2.5),
    _named("own", "pseudo_huber(0.5)", affine=False, weight=23),
    _written("half square", "0.5 * norm2({} - {})", _read_and_value, affine=True, weight=3),
    _written("similarity", "-dot({}, {})", _read_and_value, affine=True, weight=2),
    _written("read elsewhere", "dot({}, stop_gradient({} * ({} - {})))", _elsewhere, affine=True, weight=2),
    _written("error before the tick", "dot({}, {} - {})", _before, affine=True, weight=1.5),
    _written("two writes", "0.5 * norm2({} - {}) - {} * dot({}, {})", _two_writes, affine=True, weight=4),
    Construct(
        name="inner with a matrix",
        slot="objective",
        draw=lambda artist, sketch: Goal(
            objective=Phrase("objective: inner with a matrix", "-inner({}, {})", (), _outer_write(artist, sketch))
        ),
        needs=lambda artist, sketch: len(sketch.shape) == 2 and not artist.around.is_affine,
        weight=75,
    ),
    _written(
        "where of an error",
        f"where(norm({FAR}) < 1, 0.5 * norm2({FAR}), norm({FAR}) - 0.5)",
        _three_times,
        affine=False,
        weight=21,
        takes_numbers=False,
    ),
    Construct(
        name="answer of another level",
        slot="objective",
        draw=_written("answer of another level", "0.5 * norm2({} - {} + {})", _answer_of_another, affine=True).draw,
        needs=lambda artist, sketch: not artist.around.is_affine and can_read_another(artist, sketch.answer),
        weight=90,
    ),
    _written("maximum of an error", "sum(maximum({} - {}, 0.1))", _read_and_value, affine=False, weight=25),
    _written("penalty on the state", "0.5 * norm2({} - {}) + 0.05 * norm2({})", _whole_tensor, affine=False, weight=26),
    _written("absolute penalty on the state", "0.5 * norm2({} - {}) + 0.05 * sum(abs({}))", _whole_tensor, affine=False, weight=22),
    _written("any function", "0.3 * sum(tanh({}))", _any_function, affine=False, weight=20),
    _written("mean of any function", "0.5 * mean(sigmoid({}))", _any_function, affine=False, weight=18),
)  # fmt: skip

PSEUDO_HUBER = Definition(
    name="pseudo_huber",
    construct="objective: own",
    body=("parameters: [delta]", "objective: delta * sum(sqrt(delta ** 2 + (prediction - value) ** 2))"),
)

# --- retentions: from a sketch to a phrase, or none --------------------------------------------------------------------


def _one_of_its_dims(artist: Artist, sketch: Sketch, place: int) -> Phrase:
    return artist.gate((sketch.shape[place],), 1)


def _is_oblong(artist: Artist, sketch: Sketch) -> bool:
    return len(sketch.shape) == 2 and sketch.shape[0] != sketch.shape[1]


def _has_channels(artist: Artist, sketch: Sketch) -> bool:
    return not artist.around.is_affine and (len(sketch.shape) == 1 or _is_oblong(artist, sketch))


RETENTIONS = (
    Construct(name="none", slot="retention", draw=lambda artist, sketch: None, weight=4),
    _row("retention", "number for each token", "{}", lambda artist, sketch: (artist.gate((), 3),), _any_sketch, 4),
    _row("retention", "number for each key channel", "{}", lambda artist, sketch: (_one_of_its_dims(artist, sketch, 1),), _is_oblong, 3),
    _row("retention", "number for each value", "{}", lambda artist, sketch: (_one_of_its_dims(artist, sketch, 0),), _has_channels, 6),
    _row(
        "retention",
        "number for each entry",
        "{}",
        lambda artist, sketch: (artist.gate(sketch.shape, 1),),
        lambda artist, sketch: len(sketch.shape) == 1,
        4,
    ),
    _row("retention", "forget", "forget({})", lambda artist, sketch: (artist.gate((), 0),), _any_sketch),
    _row("retention", "weight_decay", "weight_decay({}, 0.5)", lambda artist, sketch: (artist.rate(),), _any_sketch),
    _row("retention", "own", "keep_most({})", lambda artist, sketch: (artist.gate((), 0),), _any_sketch),
)

KEEP_MOST = Definition(name="keep_most", construct="retention: own", body=("parameters: [share]", "retention: 0.5 + 0.5 * share"))

# --- optimizers and further keys ---------------------------------------------------------------------------------------


def _channel_rate(artist: Artist, sketch: Sketch) -> tuple[Phrase, ...]:
    return (artist.rate((artist.pick(sketch.shape),)),)


def _rate_of_rows(artist: Artist, sketch: Sketch) -> tuple[Phrase, ...]:
    return (artist.rate(sketch.shape[:1]),)


def _rate_and_decay(artist: Artist, sketch: Sketch) -> tuple[Phrase, ...]:
    return artist.rate(), artist.gate((), 1)


QUADRATIC = (
    *("l2", "dot", "library in an expression", "half square", "similarity", "error before the tick", "inner with a matrix"),
    *("answer of another level", "penalty on the state", "two writes"),
)
"""The objectives for which an implicit step has a closed form, in a memory of one tensor."""


def is_quadratic(sketch: Sketch, goal: Goal, every: Phrase, options: dict[str, Phrase]) -> bool:
    is_simple = not sketch.memory.is_network and every.construct == "every tick" and "gradient_at" not in options
    return is_simple and goal.objective.construct.removeprefix("objective: ") in QUADRATIC


def _can_be_implicit(artist: Artist, sketch: Sketch) -> bool:
    return artist.around.is_quadratic


def _has_implicit_rows(artist: Artist, sketch: Sketch) -> bool:
    return artist.around.is_quadratic and (len(sketch.shape) == 1 or _has_channels(artist, sketch))


OPTIMIZERS = (
    _row("optimizer", "proximal", "proximal({})", lambda artist, sketch: (artist.rate(),), _can_be_implicit, 6),
    _row("optimizer", "proximal at large rates", "proximal(1 + 2 * {})", lambda artist, sketch: (artist.gate(()),), _can_be_implicit, 6),
    _row("optimizer", "proximal for each row", "proximal({})", _rate_of_rows, _has_implicit_rows, 130),
    _row("optimizer", "gradient_descent", "gradient_descent({})", lambda artist, sketch: (artist.rate(),), weight=10),
    _row(
        "optimizer",
        "gradient_descent by keyword",
        "gradient_descent(learning_rate = {})",
        lambda artist, sketch: (artist.rate(),),
        weight=2,
    ),
    _row("optimizer", "rate for each channel", "gradient_descent({})", _channel_rate, _has_channels, 8),
    _row("optimizer", "momentum", "momentum(learning_rate = {}, decay = {} / 2)", _rate_and_decay, weight=2),
    _row("optimizer", "heavy_ball", "optimizers/heavy_ball(learning_rate = {}, decay = {} / 2)", _rate_and_decay, weight=2),
    _row("optimizer", "shipped gradient_descent", "optimizers/gradient_descent({})", lambda artist, sketch: (artist.rate(),)),
)


def _option(key: str, text: str, weight: float = 1) -> Construct:
    label = f"option: {key} {text}"
    return Construct(name=f"{key} {text}", slot="option", draw=lambda artist, sketch: ((key, Phrase(label, text)),), weight=weight)


OPTIONS = (
    Construct(name="none", slot="option", draw=lambda artist, sketch: (), weight=8),
    _option("gradient_at", "retained", 5),
    _option("gradient_at", "previous"),
    _option("init", "zeros", 1.4),
    _option("reset", "sequence"),
    _option("reduce", "sum", 2.5),
)

PARTS = (*MEMORIES, *OBJECTIVES, *RETENTIONS, *OPTIMIZERS, *OPTIONS)
