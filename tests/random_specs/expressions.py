"""The table of expressions: signals of order 1, gates in [0, 1], rates in [0, 0.3], keys of length about 1, each with its functions.

Arguments are kept where their functions are smooth and finite (`log` of more than 1/2, `sinh` of a gate), so that a random system neither
blows up nor hides a mistake behind a number that is no number.
"""

from __future__ import annotations

from collections.abc import Callable

from nlc.ir.maps import MAPS
from tests.random_specs.artist import Artist, Construct, Readable
from tests.random_specs.tree import LIKE, Phrase, Shape

Needs = Callable[[Artist, Shape], bool]


def always(artist: Artist, shape: Shape) -> bool:
    return True


def is_number(artist: Artist, shape: Shape) -> bool:
    return shape == ()


def is_vector(artist: Artist, shape: Shape) -> bool:
    return len(shape) == 1 and shape != LIKE


def is_matrix(artist: Artist, shape: Shape) -> bool:
    return len(shape) == 2


def is_oblong(artist: Artist, shape: Shape) -> bool:
    return len(shape) == 2 and shape[0] != shape[1]


def is_no_number(artist: Artist, shape: Shape) -> bool:
    return shape != ()


def has_sizes(artist: Artist, shape: Shape) -> bool:
    return shape == () and not artist.around.is_optimizer


def has_axes(artist: Artist, shape: Shape) -> bool:
    return shape == () and artist.around.axes != ()


Parts = Callable[[Artist, Shape, int], tuple[Phrase, ...]]


def row(slot: str, name: str, form: str, parts: Parts, needs: Needs = always, weight: float = 1) -> Construct:
    """A row whose text is a form with parts."""
    label = f"{slot}: {name}"
    return Construct(
        name=name,
        slot=slot,
        draw=lambda artist, shape, depth: Phrase(label, form, shape, parts(artist, shape, depth - 1)),
        needs=needs,
        weight=weight,
    )


def alike(*kinds: str) -> Parts:
    """Parts of the shape of the whole."""
    return lambda artist, shape, depth: tuple(getattr(artist, kind)(shape, depth) for kind in kinds)


def of_vectors(count: int = 1) -> Parts:
    """Parts of one shape that is no number."""

    def parts(artist: Artist, shape: Shape, depth: int) -> tuple[Phrase, ...]:
        common = artist.vector()
        return tuple(artist.signal(common, depth) for _ in range(count))

    return parts


def and_a_vector(kind: str) -> Parts:
    """A part of the shape of the whole, and one of a shape that is no number."""
    return lambda artist, shape, depth: (getattr(artist, kind)(shape, depth), artist.signal(artist.vector(), depth))


def with_a_number(artist: Artist, shape: Shape, depth: int) -> tuple[Phrase, ...]:
    return artist.signal((), depth), artist.signal(shape, depth)


def scaled(kind: str) -> Parts:
    """A number, and a part of the shape of the whole."""
    return lambda artist, shape, depth: (artist.gate((), depth), getattr(artist, kind)(shape, depth))


def compared(kind: str) -> Parts:
    """Two signals to compare, entry by entry or as numbers, then two of a kind to choose from."""

    def parts(artist: Artist, shape: Shape, depth: int) -> tuple[Phrase, ...]:
        tested = shape if artist.maybe(0.5) else ()
        test = (artist.signal(tested, depth), artist.signal(tested, 0))
        return (*test, getattr(artist, kind)(shape, depth), getattr(artist, kind)(shape, 0))

    return parts


# --- leaves ------------------------------------------------------------------------------------------------------


def leaf(slot: str, name: str, texts: Callable[[Artist, Shape], list[str]], weight: float = 1) -> Construct:
    """A row of words that are not taken apart, of which there may be none."""
    label = f"{slot}: {name}"
    return Construct(
        name=name,
        slot=slot,
        draw=lambda artist, shape, depth: Phrase(label, artist.pick(texts(artist, shape)), shape),
        needs=lambda artist, shape: bool(texts(artist, shape)),
        weight=weight,
        leaf=True,
    )


def stream_of(*groups: str) -> Callable[[Artist, Shape], list[str]]:
    return lambda artist, shape: [stream.name for stream in artist.around.streams(shape, *groups)]


def numbers(*texts: str) -> Callable[[Artist, Shape], list[str]]:
    return lambda artist, shape: list(texts) if shape == () else []


def hyperparameter(group: str) -> Callable[[Artist, Shape], list[str]]:
    return lambda artist, shape: list(getattr(artist.around, group)) if shape == () else []


def abbreviation(artist: Artist, shape: Shape) -> list[str]:
    return [name for name, value in artist.around.lets if value.shape == shape]


def size(artist: Artist, shape: Shape) -> list[str]:
    return [f"1 / {dim}" for dim in artist.around.dims] if has_sizes(artist, shape) else []


def own(artist: Artist, shape: Shape, depth: int) -> Phrase:
    assert artist.around.own is not None
    return artist.around.own


def has_own(artist: Artist, shape: Shape) -> bool:
    return artist.around.own is not None and artist.around.own.shape == shape


def index_of(artist: Artist, shape: Shape) -> list[str]:
    return [f"index({axis}) / 3" for axis in artist.around.axes] if shape == () else []


def decay_by_index(artist: Artist, shape: Shape) -> list[str]:
    return [f"1 - 2 ** (-2 - index({axis}))" for axis in artist.around.axes] if shape == () else []


# --- reads of levels ---------------------------------------------------------------------------------------------


def applied(artist: Artist, shape: Shape) -> list[Readable]:
    return [level for level in artist.around.readable if level.memory.gives == shape]


def draw_applied(artist: Artist, shape: Shape, depth: int) -> Phrase:
    level = artist.pick(applied(artist, shape))
    word, way = artist.pick(level.ways)
    assert level.memory.takes is not None
    return Phrase(f"read: {word}", f"{way.format(level.name)}({{}})", shape, (artist.key(level.memory.takes, depth - 1),))


def tensors(artist: Artist, shape: Shape) -> list[tuple[Readable, str]]:
    return [
        (level, f"{level.name}.{part}" if part else level.name)
        for level in artist.around.readable
        for part, own_shape in level.memory.tensors
        if own_shape == shape
    ]


def draw_tensor(artist: Artist, shape: Shape, depth: int) -> Phrase:
    level, text = artist.pick(tensors(artist, shape))
    is_part = "." in text  # only a whole level can be held
    word, way = artist.pick([item for item in level.ways if not (is_part and "hold" in item[1])])
    return Phrase(f"read: {word}", way.format(text), shape)


def can_be_asked(artist: Artist, shape: Shape) -> bool:
    return bool(applied(artist, shape))


def can_be_named(artist: Artist, shape: Shape) -> bool:
    return bool(tensors(artist, shape))


def can_read_another(artist: Artist, shape: Shape) -> bool:
    return can_be_asked(artist, shape) or can_be_named(artist, shape)


def read_of_another(artist: Artist, shape: Shape) -> Phrase:
    """What another level answers, or is."""
    return (draw_applied if can_be_asked(artist, shape) else draw_tensor)(artist, shape, 1)


# --- the table ---------------------------------------------------------------------------------------------------


def outer_parts(artist: Artist, shape: Shape, depth: int) -> tuple[Phrase, ...]:
    return artist.signal(shape[:1], depth), artist.signal(shape[1:], depth)


def product_parts(artist: Artist, shape: Shape, depth: int) -> tuple[Phrase, ...]:
    inner = artist.vector()
    return artist.signal(shape + inner, depth), artist.signal(inner, depth)


def transposed_parts(artist: Artist, shape: Shape, depth: int) -> tuple[Phrase, ...]:
    return (artist.signal(shape[::-1], depth),)


def regular(artist: Artist, shape: Shape, depth: int) -> tuple[Phrase, ...]:
    """A part that reads no level: a state may be zero, where a direction has no derivative."""
    return (artist.within(readable=(), own=None).signal(shape, depth),)


def erased_parts(artist: Artist, shape: Shape, depth: int) -> tuple[Phrase, ...]:
    key = artist.key(shape, 0)
    return artist.gate((), 0), key, key, artist.signal(shape, depth)


def over(name: str, form: str) -> Construct:
    """A function along one dim of a matrix."""
    label = f"signal: {name}"

    def draw(artist: Artist, shape: Shape, depth: int) -> Phrase:
        dim = artist.pick([item for item in artist.around.dims if (item,) != shape])
        matrix = (*shape, dim) if artist.maybe(0.5) else (dim, *shape)
        return Phrase(label, form.replace("DIM", dim), shape, (artist.signal(matrix, depth - 1),))

    def needs(artist: Artist, shape: Shape) -> bool:
        return is_vector(artist, shape) and len(artist.around.dims) > 1

    return Construct(name=name, slot="signal", draw=draw, needs=needs, weight=2.2)


def draw_softmax_over(artist: Artist, shape: Shape, depth: int) -> Phrase:
    return Phrase("signal: softmax over a dim", f"softmax({{}}, over = {artist.pick(shape)})", shape, (artist.signal(shape, depth - 1),))


def spread_parts(artist: Artist, shape: Shape, depth: int) -> tuple[Phrase, ...]:
    return artist.signal(shape, depth), artist.signal(artist.pick([(), *((dim,) for dim in shape)]), depth)


OF_GATES = ("exp", "log", "sqrt", "sinh", "cosh")
FORMS_OF_GATES = {"log": "log(0.5 + {})", "sqrt": "sqrt(0.1 + {})"}.get


def draw_outer(artist: Artist, shape: Shape, depth: int) -> Phrase:
    return Phrase("signal: outer", "outer({}, {})", shape, outer_parts(artist, shape, 0))


SIGNALS = (
    leaf("signal", "stream", stream_of("units"), 6),
    leaf("signal", "number", numbers("1", "0.5", "-0.25", "2"), 0.7),
    leaf("signal", "hyperparameter", hyperparameter("numbers"), 1),
    leaf("signal", "stream with a range", stream_of("gates"), 2),
    leaf("signal", "abbreviation", abbreviation, 3),
    leaf("signal", "size", size, 2),
    leaf("signal", "index", index_of, 2),
    Construct(name="own read", slot="signal", draw=own, needs=has_own, weight=24, leaf=True),
    Construct(name="read of a level", slot="signal", draw=draw_applied, needs=can_be_asked, weight=34),
    Construct(name="state of a level", slot="signal", draw=draw_tensor, needs=can_be_named, weight=8),
    *(row("signal", name, f"{name}({{}})", alike("signal"), weight=1.25) for name in MAPS if name not in OF_GATES),
    *(row("signal", name, FORMS_OF_GATES(name) or f"{name}({{}})", alike("gate"), weight=1.45) for name in OF_GATES),
    row("signal", "sum", "{} + {}", alike("signal", "signal"), weight=2),
    row("signal", "difference", "{} - {}", alike("signal", "signal"), weight=2),
    row("signal", "product", "{} * {}", alike("signal", "gate"), weight=2),
    row("signal", "quotient", "{} / (1 + {})", alike("signal", "gate"), weight=1.5),
    row("signal", "quotient by a norm", "{} / (1 + norm2({}))", and_a_vector("signal")),
    row("signal", "negation", "-{}", alike("signal"), weight=2),
    row("signal", "square", "{} ** 2", alike("signal"), weight=1.3),
    row("signal", "power of two", "2 ** (-{})", alike("gate"), is_number, 14),
    row("signal", "scaled", "{} * {}", scaled("signal"), is_no_number, 2),
    row("signal", "product with a number", "sin({}) * {}", with_a_number, is_no_number, 28),
    row("signal", "spread", "{} + {}", spread_parts, is_oblong, 90),
    row("signal", "where", "where({} < {}, {}, {})", compared("signal"), weight=2),
    row("signal", "maximum", "maximum({}, {})", alike("signal", "signal")),
    row("signal", "minimum", "minimum({}, {})", alike("signal", "signal"), weight=1.3),
    row("signal", "clip", "clip({}, -0.5, 0.75)", alike("signal"), weight=1.6),
    row("signal", "dot", "dot({}, {})", of_vectors(2), is_number, 12),
    row("signal", "inner", "inner({}, {})", of_vectors(2), is_number, 10),
    row("signal", "norm", "norm({})", of_vectors(), is_number, 9),
    row("signal", "norm2", "norm2({})", of_vectors(), is_number, 12),
    row("signal", "total", "sum({})", of_vectors(), is_number, 11),
    row("signal", "mean", "mean({})", of_vectors(), has_sizes, 16),
    row("signal", "softmax", "softmax({})", alike("signal"), is_vector, 2),
    row("signal", "l2_normalise", "l2_normalise({})", regular, is_vector, 3),
    row("signal", "layer_norm", "layer_norm({})", regular, is_vector, 3),
    Construct(name="outer", slot="signal", draw=draw_outer, needs=is_matrix, weight=3, leaf=True),
    row("signal", "transpose", "transpose({})", transposed_parts, is_matrix, 42),
    row("signal", "matrix product", "{} @ {}", product_parts, is_vector, 9),
    row("signal", "eye", "(eye - {} * outer({}, {})) @ {}", erased_parts, is_vector, 1.9),
    over("sum over a dim", "sum({}, over = DIM)"),
    over("mean over a dim", "mean({}, over = DIM)"),
    Construct(name="softmax over a dim", slot="signal", draw=draw_softmax_over, needs=is_oblong, weight=60),
)  # fmt: skip

GATES = (
    leaf("gate", "stream", stream_of("gates"), 6),
    leaf("gate", "number", numbers("0.9", "0.5", "1", "0"), 1),
    leaf("gate", "hyperparameter", hyperparameter("shares"), 2),
    leaf("gate", "decay by index", decay_by_index, 4),
    Construct(
        name="sigmoid",
        slot="gate",
        draw=lambda artist, shape, depth: Phrase("gate: sigmoid", "sigmoid({})", shape, (artist.signal(shape, depth - 1),)),
        weight=3,
        leaf=True,
    ),
    row("gate", "normal_cdf", "normal_cdf({})", alike("signal"), weight=1.5),
    row("gate", "softmax", "softmax({})", alike("signal"), is_vector, 3),
    row("gate", "clip", "clip({}, 0, 1)", alike("signal")),
    row("gate", "product", "{} * {}", alike("gate", "gate")),
    row("gate", "complement", "1 - {}", alike("gate")),
    row("gate", "power", "{} ** 3", alike("gate")),
    row("gate", "decay", "exp(-softplus({}))", alike("signal")),
    row("gate", "where", "where({} >= {}, {}, {})", compared("gate")),
    row("gate", "maximum", "maximum({}, {})", alike("gate", "gate")),
)

RATES = (
    leaf("rate", "stream", stream_of("rates"), 4),
    leaf("rate", "number", numbers("0.1", "0.25"), 2),
    leaf("rate", "hyperparameter", hyperparameter("steps"), 2),
    Construct(
        name="scaled gate",
        slot="rate",
        draw=lambda artist, shape, depth: Phrase("rate: scaled gate", "0.2 * {}", shape, (artist.gate(shape, depth - 1),)),
        weight=2,
        leaf=True,
    ),
    row("rate", "divided by a norm", "{} / (4 + norm2({}))", and_a_vector("gate")),
)  # fmt: skip

KEYS = (
    leaf("key", "stream", stream_of("units"), 6),
    Construct(
        name="normalised",
        slot="key",
        draw=lambda artist, shape, depth: Phrase("key: normalised", "l2_normalise({})", shape, regular(artist, shape, depth - 1)),
        needs=is_vector,
        weight=0.5,
        leaf=True,
    ),
    row("key", "softmax", "softmax({})", alike("signal"), is_vector),
    row("key", "gated", "{} * {}", scaled("key")),
    row("key", "bounded", "0.3 * tanh({})", alike("signal")),
)

EXPRESSIONS = (*SIGNALS, *GATES, *RATES, *KEYS)
