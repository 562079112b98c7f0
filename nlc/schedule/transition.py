"""How a memory's old state enters its new one: one classification, which decides the parallel forms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from nlc.ir.affine import AffineLaw, Classified, CoupledLaw, Transition
from nlc.ir.algebra import Expr, State, is_number
from nlc.ir.expand import degree, first_nonlinear
from nlc.ir.show import expression_text
from nlc.schedule.affine_form import affine_form
from nlc.schedule.coupled_form import coupled_form


def classify(new_state: Expr, state: State) -> Classified:
    """The transition of a memory of one tensor, whose old value is `state`."""
    nonlinear = first_nonlinear(new_state, state)
    if nonlinear is not None:
        text = expression_text(nonlinear)
        return _classified(state, Transition.NONLINEAR, None, f"the old state enters through {text}, which is not affine in it")
    law = affine_form(new_state, state)
    if isinstance(law, AffineLaw):
        coupled = coupled_form((new_state,), (state,)) if len(law.writes) > 1 else None
        found = _classified(state, _transition(law), law, _because(law))
        return replace(found, coupled=coupled) if isinstance(coupled, CoupledLaw) else found
    return _classified(state, Transition.DENSE, None, _misfit(law, state))


def _misfit(term: Expr, *states: State) -> str:
    """Why a term stands in no normal form."""
    text = expression_text(term)
    if degree(term, *states):
        return f"{text} is neither the state, scaled, nor the state @ a vector along a vector"
    return f"{text} is written, which is not an outer product"


def classify_together(new_states: Sequence[Expr], states: Sequence[State]) -> Classified:
    """The transition of several tensors that move as one: those of one memory, or of memories that read one another."""
    shown = _names(states)
    names = f"{', '.join(shown[:-1])} and {shown[-1]}"
    last = states[-1]
    for new, name in zip(new_states, shown, strict=True):
        nonlinear = first_nonlinear(new, *states)
        if nonlinear is not None:
            because = f"the new {name} reads {expression_text(nonlinear)}, which is not affine in the old {names}"
            return _classified(last, Transition.NONLINEAR, None, because)
    if len({state.shape for state in states}) > 1:
        because = f"the states {names} move as one, but have not the same shape: they have no common normal form"
        return _classified(last, Transition.DENSE, None, because)
    law = coupled_form(new_states, states)
    if not isinstance(law, CoupledLaw):
        return _classified(last, Transition.DENSE, None, f"the states {names} move as one, and {_misfit(law, *states)}")
    vectors = dict.fromkeys(expression_text(read.vector) for write in law.writes for read in write.reads)
    reads = f"the writes read them at {', '.join(vectors)} alone" if vectors else "no write reads them"
    return Classified(last.component, Transition.COMPANION, None, f"the states {names} move as one, and {reads}", law)


def _names(states: Sequence[State]) -> tuple[str, ...]:
    """What the tensors are called: by their parts if they are those of one memory."""
    is_one = len({state.component for state in states}) == 1
    return tuple(state.part if is_one else ".".join(filter(None, (state.component, state.part))) for state in states)


def _classified(state: State, transition: Transition, law: AffineLaw | None, because: str) -> Classified:
    return Classified(state.component, transition, law, because)


def _transition(law: AffineLaw) -> Transition:
    has_reads = any(write.reads for write in law.writes)
    if law.decay.shape:
        return Transition.DIAGONAL_MINUS_LOW_RANK if has_reads else Transition.DIAGONAL
    if has_reads:
        return Transition.SCALAR_MINUS_LOW_RANK
    return Transition.IDENTITY if is_number(law.decay, 1) else Transition.SCALAR


def _because(law: AffineLaw) -> str:
    kept = "unchanged" if is_number(law.decay, 1) else f"times {expression_text(law.decay)}"
    vectors = dict.fromkeys(expression_text(read.vector) for write in law.writes for read in write.reads)
    if not vectors:
        return f"the old state is kept {kept}, and no write reads it"
    return f"the old state is kept {kept}, and the writes read it at {', '.join(vectors)} alone"
