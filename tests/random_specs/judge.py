"""The text of a spec -> what becomes of it: every square closes, it is refused with codes, a square stays open, or nlc crashes."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from nlc import pipeline
from nlc.diagnostics import CompileError
from nlc.verify.squares import all_squares, faulty_stage

CLOSED, REFUSED, MISMATCH, CRASH = "closed", "refused", "mismatch", "crash"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a spec. `codes` are those of a refusal; `stage` is the one to blame for a mismatch or crash."""

    word: str
    detail: str = ""
    codes: tuple[str, ...] = ()
    stage: str = ""
    is_parallel: bool = False

    @property
    def is_failure(self) -> bool:
        return self.word in (MISMATCH, CRASH)

    def resembles(self, other: Outcome) -> bool:
        """Whether both are failures of one kind in one place."""
        return (self.word, self.stage) == (other.word, other.stage)


def judge(text: str, *, stop_early: bool = False) -> Outcome:
    """Compile a spec and verify it; with `stop_early` no further than to the first square that does not close."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "random_spec.yaml"
        path.write_text(text)
        try:
            program = pipeline.compile_program(path)
            source = pipeline.emit(program)
            if stop_early:
                found = next((square for square in all_squares(program, source) if not square.closed), None)
                still_open = [found] if found is not None else []
            else:
                still_open = [square for square in pipeline.verify(program, source).squares if not square.closed]
        except CompileError as error:
            codes = tuple(item.code for item in error.diagnostics)
            return Outcome(word=REFUSED, detail=str(error), codes=codes)
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            says = f"{type(error).__name__}: {error}".splitlines()[0]
            return Outcome(word=CRASH, detail=f"{says} ({Path(place.filename).name}:{place.lineno})", stage=type(error).__name__)
    if still_open:
        stage = faulty_stage(still_open) or ""
        return Outcome(word=MISMATCH, detail="; ".join(square.text for square in still_open[:3]), stage=stage)
    return Outcome(word=CLOSED, is_parallel=program.is_parallel)
