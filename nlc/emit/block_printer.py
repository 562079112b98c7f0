"""An expression over all tokens of a block -> torch code in which states that are steady are read by products of matrices.

Values are (copies, tokens, *shape); what is the same at all tokens is (copies, *shape), and gets a dim of size 1 for them. The position,
and with it which periods end and which update this is, is known as Python numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from nlc.emit.pieces import ATOM, PRODUCT, UNARY, Piece, wrapped
from nlc.emit.scope import leaf
from nlc.emit.torch_printer import TorchPrinter
from nlc.ir.algebra import Due, Expr, Input, MatMul, Named, Outer, State, Tick, Transpose, When, children, contains
from nlc.ir.build import replace as replaced


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockPrinter(TorchPrinter):
    """`at_end` prints what is steady, and values at the block's last token; `tokens` is the text of how many tokens there are.

    Streams in `totals` are known as their sums over the block alone.
    """

    at_end: TorchPrinter
    tokens: str
    totals: frozenset[str] = frozenset()

    def piece(self, node: Expr) -> Piece:
        """The code of a node, as broadcasting leaves it."""
        if node in self.known:
            return TorchPrinter.piece(self, node)
        if is_new_read(node):
            return self._moved(node)
        if contains(node, is_state) and not varies(node):
            piece = self.at_end.piece(node)
            return piece if piece.rank is None else Piece(f"{wrapped(piece, ATOM)}.unsqueeze(1)", ATOM, piece.rank, piece.full)
        match node:
            case MatMul(left, right) if len(right.shape) == 1 and contains(left, is_state) and not varies(left):
                return self._read(left, right)
        return TorchPrinter.piece(self, node)

    def _read(self, matrix: Expr, vector: Expr) -> Piece:
        """A steady matrix times a vector of every token."""
        right = self.whole(vector)
        transposed = self.at_end.atom(matrix.x) if isinstance(matrix, Transpose) else f"{self.at_end.atom(matrix)}.mT"
        return Piece(f"{wrapped(right, PRODUCT)} @ {transposed}", PRODUCT, 1)

    def _moved(self, node: Expr) -> Piece:
        """What reads a level that moves at the block's end: its old state, but at the last token the new one."""
        before = self.whole(as_before(node)).text
        return Piece(f"_moved_at_end({before}, {self.at_end.text(node)}, {self.tokens})", ATOM, len(node.shape))

    def summed(self, node: Expr) -> Piece:
        """The sum over the tokens of the block: one product of matrices for an outer product."""
        match node:
            case Input(name) if name in self.totals:
                return self.at_end.piece(node)
            case Outer(left, right):
                first, second = self.whole(left), self.whole(right)
                return Piece(f"{wrapped(first, ATOM)}.mT @ {wrapped(second, UNARY)}", PRODUCT, 2)
        return Piece(f"{self.atom(node)}.sum(1)", ATOM, len(node.shape))


def block_leaf(node: Expr, values: dict[Expr, str]) -> Piece:
    """What a leaf is inside a block."""
    piece = leaf(node, values)
    return replace(piece, rank=None) if isinstance(node, Tick | Due) else piece


def is_state(node: Expr) -> bool:
    """Whether the node is a state."""
    return isinstance(node, State)


def varies(node: Expr, lasting: frozenset[str] = frozenset()) -> bool:
    """Whether a value may change from token to token inside a block; the streams in `lasting` are known not to."""

    def moves(part: Expr) -> bool:
        match part:
            case Input(name):
                return name not in lasting
            case State(when=when):
                return when is When.CURRENT
        return isinstance(part, Named)

    return contains(node, moves)


def is_over_streams(node: Expr) -> bool:
    """Whether a value changes with the streams alone."""
    return contains(node, lambda part: isinstance(part, Input)) and not contains(node, lambda part: isinstance(part, Named | State))


def is_new_read(node: Expr) -> bool:
    """Whether the node is what a level gives by its new state: the state at a vector, or the smallest expression that it stands in."""
    if not _reads_new(node):
        return False
    match node:
        case MatMul(left, right) if len(right.shape) == 1 and not is_over_streams(left):
            return True
    below = [child for child in children(node) if _reads_new(child)]
    return not below or (len(node.shape) < 2 and all(len(child.shape) == 2 for child in below))


def _reads_new(node: Expr) -> bool:
    return contains(node, lambda part: isinstance(part, State) and part.when is When.CURRENT)


def as_before(node: Expr) -> Expr:
    """The expression with the states of levels as they were before a move."""
    return replaced(node, lambda part: replace(part, when=When.PREVIOUS) if isinstance(part, State) else None)
