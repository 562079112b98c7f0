"""The text of a spec -> what becomes of it: every square closes, it is refused with codes, a square stays open, or nlc crashes."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from nlc import pipeline
from nlc.diagnostics import CompileError
from nlc.ir.program import Program
from nlc.verify.squares import Square, all_squares, faulty_stage

CLOSED, REFUSED, MISMATCH, CRASH = "closed", "refused", "mismatch", "crash"

ROUNDING = 1e-11
"""What no wrong rule of order-1 numbers could hide behind. The bounds of squares are derived for transitions that do not expand and for
well-conditioned expressions; a random spec is neither, so an error in float64 below this is counted, and is no mismatch."""

UNWRITABLE = "NLC602"
"""The code of what has a program and no text in torch: no fault of the spec's, so it counts as a crash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a spec. `codes` are those of a refusal; `stage` and `square` are to blame for a mismatch or crash.

    `roundings` counts the squares that are open by no more than ROUNDING.
    """

    word: str
    detail: str = ""
    codes: tuple[str, ...] = ()
    stage: str = ""
    square: tuple[str, str] = ("", "")
    roundings: int = 0
    is_parallel: bool = False

    @property
    def is_failure(self) -> bool:
        return self.word in (MISMATCH, CRASH)

    def resembles(self, other: Outcome) -> bool:
        """Whether both are failures of one kind in one place."""
        return (self.word, self.stage, self.square) == (other.word, other.stage, other.square)


def compiles(text: str) -> bool:
    """Whether a spec has a module; nothing is run."""
    return compiled(text).word == CLOSED


def compiled(text: str) -> Outcome:
    """What becomes of a spec until it has a module: no square is drawn."""
    return _outcome(text, lambda program, source: ())


def judge(text: str, *, stop_early: bool = False) -> Outcome:
    """Compile a spec and verify it; with `stop_early` no further than to the first square that does not close."""
    if stop_early:
        return _outcome(text, lambda program, source: tuple(islice(filter(_is_wrong, all_squares(program, source)), 1)))
    return _outcome(text, lambda program, source: pipeline.verify(program, source).squares)


def _outcome(text: str, squares_of: Callable[[Program, str], tuple[Square, ...]]) -> Outcome:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "random_spec.yaml"
        path.write_text(text)
        try:
            program = pipeline.compile_program(path)
            squares = squares_of(program, pipeline.emit(program))
        except CompileError as error:
            codes = tuple(item.code for item in error.diagnostics)
            if UNWRITABLE in codes:
                return Outcome(word=CRASH, detail=str(error), codes=codes, stage=UNWRITABLE)
            return Outcome(word=REFUSED, detail=str(error), codes=codes)
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            says = f"{type(error).__name__}: {error}".splitlines()[0]
            return Outcome(word=CRASH, detail=f"{says} ({Path(place.filename).name}:{place.lineno})", stage=type(error).__name__)
    still_open = [square for square in squares if _is_wrong(square)]
    if still_open:
        first, says = still_open[0], "; ".join(square.text for square in still_open[:3])
        return Outcome(word=MISMATCH, detail=says, stage=faulty_stage(still_open) or "", square=(first.name, first.quantity))
    roundings = sum(not square.closed for square in squares)
    return Outcome(word=CLOSED, is_parallel=program.is_parallel, roundings=roundings)


def _is_wrong(square: Square) -> bool:
    """Whether a square is open by more than rounding."""
    return not square.closed and not square.error <= ROUNDING
