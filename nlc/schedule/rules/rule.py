"""What a form rule is: a form, when it may be used, and where its identity is proved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nlc.ir.affine import Classified, OutputRead
from nlc.ir.attention import WindowLaw
from nlc.ir.dual import DualLaw
from nlc.ir.model import Clock
from nlc.ir.program import Form
from nlc.schedule.rules.proofs import Proofs


@dataclass(frozen=True, slots=True)
class Candidate:
    """The facts about one memory, or several that move as one, that conditions look at.

    `members`: the components that move as one, itself the last. `whole_reads`: who else uses their states other than as state @ vector.
    `later_reads`: reads of it whose vector needs a memory that does not come earlier (itself, say). `is_counted`: its law counts its
    updates. `block`: the tokens of a block, 0 in a system without periods. `dual`: the linear law by which they move by given gradients,
    or why there is none. `whole_tokens`: in a system of several updates a token, what happens once a token. `gathering`: levels that
    gather their gradients, token by token, until the sequence ends. `late_starts`: levels that start, or start again, from what is
    known at a token only. `across_axes`: in a system with blocks, levels whose laws split or join what memories say. `window`: the law of
    a level that is solved over one.
    """

    classified: Classified
    clock: Clock
    members: tuple[str, ...]
    reads: tuple[OutputRead, ...] = ()
    whole_reads: tuple[str, ...] = ()
    later_reads: tuple[OutputRead, ...] = ()
    is_counted: bool = False
    block: int = 0
    dual: DualLaw | str | None = None
    whole_tokens: str = ""
    gathering: tuple[str, ...] = ()
    late_starts: tuple[str, ...] = ()
    across_axes: tuple[str, ...] = ()
    window: WindowLaw | None = None

    @property
    def component(self) -> str:
        return self.classified.component

    @property
    def dual_law(self) -> DualLaw | None:
        return self.dual if isinstance(self.dual, DualLaw) else None


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition in words, its test, and the sentence that says why it fails."""

    text: str
    holds: Callable[[Candidate], bool]
    otherwise: Callable[[Candidate], str]


@dataclass(frozen=True, slots=True)
class FormRule:
    """One row of the table of forms. `says` is why it is taken, as `explain` gives it; `proofs` are claims of its identity."""

    name: str
    form: Form
    says: str
    cites: tuple[str, ...]
    proofs: Proofs
    requires: tuple[Condition, ...]
