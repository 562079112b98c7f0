"""Sums of two terms that torch takes in one call -> that call: a batched product on top of what is there, and a step along a matrix.

Inside a block every tensor is small, so that a call costs as much as what it does: one in place of two is felt.
"""

from __future__ import annotations

from dataclasses import dataclass

from nlc.emit.pieces import ATOM, PRODUCT, UNARY, Piece, wrapped
from nlc.ir.algebra import MINUS_ONE, Constant, Expr, Scale


@dataclass(frozen=True, slots=True)
class BatchedProduct:
    """(copies, a, b) times (copies, b, c), by the code of both; `rank` counts the dims that a value of the product has."""

    left: Piece
    right: Piece
    rank: int

    def piece(self) -> Piece:
        """The product alone."""
        return Piece(f"{wrapped(self.left, PRODUCT)} @ {wrapped(self.right, UNARY)}", PRODUCT, self.rank)

    def added_to(self, base: Piece, sign: str = "") -> Piece:
        """The base, which broadcasts over the product, plus the product, or minus it."""
        scaled = f", alpha={sign}1" if sign else ""
        return Piece(f"torch.baddbmm({base.text}, {self.left.text}, {self.right.text}{scaled})", ATOM, self.rank)


def step_along(start: Piece, direction: Piece, factor: Piece, sign: str = "") -> Piece:
    """The start plus (or minus) a Python number times the direction, a tensor of the same shape."""
    return Piece(f"{start.text}.add({direction.text}, alpha={sign}{wrapped(factor, UNARY)})", ATOM, direction.rank)


def without_sign(term: Expr) -> tuple[str, Expr]:
    """The sign of a term, "-" or nothing, and the rest of it."""
    match term:
        case Scale(by, x) if by == MINUS_ONE:
            return "-", x
        case Constant(value) if value < 0:
            return "-", Constant(-value)
    return "", term
