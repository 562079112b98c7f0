"""What the templates of the parallel forms see: the pieces of the methods that run memories in chunks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WriteView:
    """One write of a matrix memory: the names of its key and of what is written along it."""

    key: str
    value: str


@dataclass(frozen=True, slots=True)
class DecaysView:
    """Products of decays in a chunk, as code: `kept` of the state at its start (n, 1), `within` of what each token wrote (n, n)."""

    kept: str
    within: str


@dataclass(frozen=True, slots=True)
class WholeView:
    """A read of the whole state, its entries in one dim, as code: what is left of it at each token, and the weights of what was written."""

    left: str
    weights: str


@dataclass(frozen=True, slots=True)
class ReadView:
    """One read of a memory: names of query, value and column; the decays it sees, or without any the diagonal of the last token it sees.

    `memory` is what is read, as code, and `columns` cut out what was written to these rows.
    """

    query: str
    name: str
    column: str
    decays: DecaysView
    diagonal: str
    states: str
    whole: WholeView | None = None
    memory: str = "memory"
    columns: str = ""


@dataclass(frozen=True, slots=True)
class MatrixChunksView:
    """The chunked form of a matrix memory; `old` are the decays that writes see of what they read, `last` those up to the chunk's end.

    `value` is what is written where nothing is read, as code.
    """

    signature: tuple[str, ...]
    docstring: tuple[str, ...]
    opening: tuple[str, ...]
    chunks: tuple[str, ...]
    targets: str
    columns: tuple[str, ...]
    writes: tuple[WriteView, ...]
    together: tuple[str, ...]
    reads: tuple[ReadView, ...]
    has_decay: bool
    is_triangular: bool
    prelude: tuple[str, ...]
    factors: tuple[str, ...]
    value: str
    old: DecaysView
    last: DecaysView
    returned: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VectorChunksView:
    """The chunked form of a vector memory."""

    signature: tuple[str, ...]
    docstring: tuple[str, ...]
    opening: tuple[str, ...]
    streams: str
    targets: str
    columns: tuple[str, ...]
    reads: tuple[ReadView, ...]
    prelude: tuple[str, ...]
    has_decay: bool
    products: str
    returned: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OverlapView:
    """How one query sees one key through decays per channel: the names of what goes in and of what comes out.

    `own` adds to each token what it writes itself; it is empty for a read before the write.
    """

    targets: str
    query: str
    key: str
    own: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HalvesReadView:
    """One read in a chunk: its query, what it sees of the chunk's start, and the names of its overlaps with each write."""

    query: str
    start: str
    name: str
    column: str
    attentions: tuple[WriteView, ...]


@dataclass(frozen=True, slots=True)
class MatrixHalvesView:
    """The chunked form of a matrix memory with a decay for each key channel; `written` is what a chunk adds, as code.

    `gathered` are the lines that cut the streams into stretches, and put the writes of a token one after another; `known`
    those about writes that are known beside others that are solved for, whose system has `right` on its right. `kept` is what a chunk
    leaves of its start.
    """

    signature: tuple[str, ...]
    docstring: tuple[str, ...]
    opening: tuple[str, ...]
    gathered: tuple[str, ...]
    overlaps: tuple[OverlapView, ...]
    known: tuple[str, ...]
    chunks: tuple[str, ...]
    targets: str
    unpacked: tuple[str, ...]
    columns: tuple[str, ...]
    writes: tuple[WriteView, ...]
    reads: tuple[HalvesReadView, ...]
    is_triangular: bool
    right: str
    kept: str
    written: str
    returned: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VectorHalvesView:
    """The chunked form of a vector memory with a decay for each entry."""

    signature: tuple[str, ...]
    docstring: tuple[str, ...]
    opening: tuple[str, ...]
    columns: tuple[str, ...]
    reads: tuple[ReadView, ...]
    returned: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HalvesView:
    """The functions that cut stretches of tokens in halves, for matrices (`has_rows`: several queries or keys a token) and for vectors."""

    has_matrices: bool
    has_rows: bool
    has_vectors: bool


@dataclass(frozen=True, slots=True)
class CoupledReadView:
    """One read of states that move as one: names, the place of its state, and the rows of shares that it sees.

    `asked` is its vector times the shares of the states at the chunk's start, and `past` its scores of what was written since then.
    """

    query: str
    name: str
    column: str
    place: int
    rows: str
    asked: str
    past: str


@dataclass(frozen=True, slots=True)
class QueryView:
    """A vector at which states are read, and its reads."""

    name: str
    reads: tuple[CoupledReadView, ...]


@dataclass(frozen=True, slots=True)
class ErasesView:
    """One erase of every write, as code: the stream if it is not called `erase`, and the shares that it sees.

    `erased` is the stream times the shares of the states at the chunk's start, `so_far` the overlap of the erases before.
    """

    stream: str
    before: str
    so_far: str
    erased: str


@dataclass(frozen=True, slots=True)
class CoupledView:
    """The chunked form of `count` matrices that move as one; `cut` takes the tensor with all of them apart."""

    signature: tuple[str, ...]
    docstring: tuple[str, ...]
    leading: str
    states: str
    prelude: tuple[str, ...]
    targets: str
    columns: tuple[str, ...]
    gathered: tuple[str, ...]
    erases: tuple[ErasesView, ...]
    count: int
    is_alone: bool
    value: str
    queries: tuple[QueryView, ...]
    cut: str
    after: str
    returned: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CoupledVectorsView:
    """The chunked form of vectors that move as one."""

    signature: tuple[str, ...]
    docstring: tuple[str, ...]
    leading: str
    states: str
    prelude: tuple[str, ...]
    targets: str
    columns: tuple[str, ...]
    gathered: tuple[str, ...]
    count: int
    reads: tuple[CoupledReadView, ...]
    after: str
    final: str
    apart: str
    returned: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CoupledHelpersView:
    """The functions of states that move as one, for several matrices, and for several writes of matrices a token."""

    is_scaled: bool
    has_several: bool


@dataclass(frozen=True, slots=True)
class AttentionView:
    """The functions of levels that are solved over a window; `to_heads` lays x out for torch's kernel, `from_heads` its result back."""

    has_attention: bool
    has_sliding: bool
    has_joint: bool
    has_segments: bool
    many_axes: bool
    to_heads: str
    from_heads: str
