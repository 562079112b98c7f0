"""An expression over one tensor of an optimizer's list -> torch code, whatever the rank of the tensor and however narrow its dtype."""

from __future__ import annotations

from dataclasses import dataclass

from nlc.emit.pieces import SUM, Piece, wrapped
from nlc.emit.torch_printer import TorchPrinter


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPrinter(TorchPrinter):
    """`like` is a parameter, which may be narrower than its state: numbers are as wide as the state."""

    def as_tensor(self, piece: Piece) -> str:
        """The piece as a tensor; a number leaves the dtype of what it meets as it is."""
        return f"_number({piece.text}, {self.like})" if piece.rank is None else piece.text

    def as_large(self, piece: Piece, other: Piece) -> str:
        """The text of a choice; a number beside a tensor is one in every entry."""
        return wrapped(piece, SUM) if piece.rank is not None or other.rank is None else f"_filled({piece.text}, {self.like})"
