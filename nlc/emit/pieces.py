"""Pieces of torch code: how their text binds and which dims they have, and how they go together."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from nlc.ir.algebra import Constant
from nlc.ir.dims import LIKE_WEIGHTS, Shape
from nlc.ir.show import expression_text

CHOICE, COMPARISON, SUM, PRODUCT, UNARY, POWER, ATOM = range(7)
"""How tightly Python binds, loosest first."""

SIMPLE_OPERAND = re.compile(r"-?[A-Za-z0-9_.]+")
"""Operands of ** that ruff writes without spaces."""


WEIGHTS: Shape = (LIKE_WEIGHTS,)
"""The shape of a parameter tensor, whose rank is not known: an emitted optimizer takes tensors as they come."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Code and how it binds; `rank` counts its trailing dims (None: a Python number), `full` says that they have their whole size."""

    text: str
    binding: int = ATOM
    rank: int | None = 0
    full: bool = True


def rank_of(shape: Shape) -> int:
    """How many dims a scalar needs to broadcast over the shape: over a parameter tensor, of whatever rank, none."""
    return 0 if shape == WEIGHTS else len(shape)


def wrapped(piece: Piece, lowest: int) -> str:
    """The text, in parentheses when it binds less tightly."""
    return piece.text if piece.binding >= lowest else f"({piece.text})"


def with_dims(piece: Piece, rank: int) -> Piece:
    """A scalar at every place, with trailing dims of size 1."""
    if not rank or piece.rank is None:
        return piece
    return Piece(f"{wrapped(piece, ATOM)}[..., {', '.join(['None'] * rank)}]", ATOM, rank, False)


def joined_dims(pieces: list[Piece]) -> tuple[int | None, bool]:
    """Rank and fullness of pieces broadcast together."""
    ranks = [piece.rank for piece in pieces if piece.rank is not None]
    return (max(ranks), any(piece.full for piece in pieces if piece.rank is not None)) if ranks else (None, True)


def dims_text(rank: int) -> str:
    """The last so many dims, as an argument."""
    return "" if not rank else "-1" if rank == 1 else f"({', '.join(str(-number) for number in range(rank, 0, -1))})"


def short_index(index: str) -> str:
    """`:, None` after an ellipsis is `None`."""
    return index.removeprefix(":, ")


def raised(base: Piece, power: Piece) -> Piece:
    """A power, of pieces with the dims that broadcasting leaves them."""
    texts = wrapped(base, ATOM), wrapped(power, UNARY)
    operator = "**" if all(SIMPLE_OPERAND.fullmatch(text) for text in texts) else " ** "
    return Piece(operator.join(texts), POWER, *joined_dims([base, power]))


def multiplied(left: Piece, right: Piece) -> Piece:
    """The product of a matrix and a matrix or vector, of pieces with all their dims."""
    if right.rank == 1:
        return Piece(f"({wrapped(left, PRODUCT)} @ {wrapped(right, ATOM)}[..., None]).squeeze(-1)", ATOM, 1)
    return Piece(f"{wrapped(left, PRODUCT)} @ {wrapped(right, UNARY)}", PRODUCT, 2)


def solved(matrix: Piece, right: Piece) -> Piece:
    """The x with matrix @ x = right, of pieces with all their dims."""
    if right.rank == 1:
        return Piece(f"_solution({matrix.text}, {wrapped(right, ATOM)}[..., None]).squeeze(-1)", ATOM, 1)
    return Piece(f"_solution({matrix.text}, {right.text})", ATOM, 2)


def number_piece(value: Fraction) -> Piece:
    """An exact number."""
    text = expression_text(Constant(value))
    return Piece(text, PRODUCT if "/" in text else UNARY if value < 0 else ATOM, None)
