"""How a memory's old state enters its new one: one classification, which decides the parallel forms."""

from __future__ import annotations

from collections.abc import Sequence

from nlc.ir.affine import AffineLaw, Classified, Transition
from nlc.ir.algebra import Expr, State, is_number
from nlc.ir.expand import degree, first_nonlinear
from nlc.ir.show import expression_text
from nlc.schedule.affine_form import affine_form


def classify(new_state: Expr, state: State, partners: Sequence[str] = ()) -> Classified:
    """The transition of the component whose old state is `state`; `partners` are levels of its own optimizer that it moves with."""
    if partners:
        return _classified(state, Transition.COMPANION, None, f"it reads the state of {' and '.join(partners)}, with which it moves as one")
    nonlinear = first_nonlinear(new_state, state)
    if nonlinear is not None:
        text = expression_text(nonlinear)
        return _classified(state, Transition.NONLINEAR, None, f"the old state enters through {text}, which is not affine in it")
    law = affine_form(new_state, state)
    if isinstance(law, AffineLaw):
        return _classified(state, _transition(law), law, _because(law))
    text = expression_text(law)
    if degree(law, state):
        return _classified(state, Transition.DENSE, None, f"{text} is neither the state, scaled, nor the state @ a vector along a vector")
    return _classified(state, Transition.DENSE, None, f"{text} is written, which is not an outer product")


def classify_together(new_states: Sequence[Expr], states: Sequence[State], partners: Sequence[str] = ()) -> Classified:
    """The transition of a component with several tensors, which move as one."""
    if partners:
        return classify(new_states[0], states[0], partners)
    names = ", ".join(state.part for state in states[:-1]) + f" and {states[-1].part}"
    for new, state in zip(new_states, states, strict=True):
        nonlinear = first_nonlinear(new, *states)
        if nonlinear is not None:
            because = f"the new {state.part} reads {expression_text(nonlinear)}, which is not affine in the old {names}"
            return _classified(state, Transition.NONLINEAR, None, because)
    because = f"{names} are one state of several tensors, whose laws have no common normal form"
    return _classified(states[0], Transition.DENSE, None, because)


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
