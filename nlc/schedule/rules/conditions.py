"""Conditions that several forms share."""

from __future__ import annotations

from nlc.ir.affine import AffineLaw, CoupledLaw, Transition
from nlc.ir.show import expression_text
from nlc.schedule.rules.rule import Candidate, Condition


def transition_is(text: str, *allowed: Transition) -> Condition:
    """The condition that the old state enters in one of these ways."""
    return Condition(
        text,
        lambda candidate: candidate.classified.transition in allowed,
        lambda candidate: f"its transition is {candidate.classified.transition.value}",
    )


def affine(candidate: Candidate) -> AffineLaw:
    """The normal form, for conditions that come after one on the transition."""
    assert candidate.classified.affine is not None
    return candidate.classified.affine


def coupled(candidate: Candidate) -> CoupledLaw:
    """The normal form of several states or writes, for conditions that come after one on the transition."""
    assert candidate.classified.coupled is not None
    return candidate.classified.coupled


def _names(names: tuple[str, ...]) -> str:
    return " and ".join(names)


WRITES_SOMETHING = Condition(
    "something to be written",
    lambda candidate: bool(affine(candidate).writes),
    lambda candidate: f"{candidate.component} only decays",
)

EVERY_TOKEN = Condition(
    "an update at every token",
    lambda candidate: candidate.clock.period <= 1,
    lambda candidate: f"{candidate.component} updates every {candidate.clock}",
)

ALL_PARTS_ALIKE = Condition(
    "tokens whose parts are all alike",
    lambda candidate: not candidate.whole_tokens,
    lambda candidate: f"{candidate.whole_tokens} at whole tokens alone, of several updates each",
)

READ_WITH_VECTORS = Condition(
    "reads by others as a product with a vector",
    lambda candidate: not candidate.whole_reads,
    lambda candidate: f"{_names(candidate.whole_reads)} needs the whole of {candidate.component}",
)

WHOLE_AT_ALL_TOKENS = Condition(
    "reads by others as a product with a vector, or as a whole in a system without periods",
    lambda candidate: not candidate.whole_reads or candidate.block == 0,
    lambda candidate: f"{_names(candidate.whole_reads)} needs the whole of {candidate.component}, where something has a period",
)

VECTORS_COME_EARLIER = Condition(
    "reads with vectors that come before it: streams, or reads of earlier memories",
    lambda candidate: not candidate.later_reads,
    lambda candidate: " and ".join(
        f"{candidate.component} is read with {expression_text(read.vector)}, which needs its own or a later state"
        for read in candidate.later_reads
        if read.vector is not None
    ),
)

SEVERAL_TOKENS = Condition(
    "periods that end together somewhere but at every token",
    lambda candidate: candidate.block != 1,
    lambda candidate: "levels, held values and resets have periods without a common divisor, so a block would be one token",
)

NOT_COUNTED = Condition(
    "a law that is the same at every token",
    lambda candidate: not candidate.is_counted,
    lambda candidate: f"the law of {candidate.component} counts its updates",
)

NOTHING_GATHERED = Condition(
    "no level that moves when the sequence ends",
    lambda candidate: not candidate.gathering,
    lambda candidate: f"{_names(candidate.gathering)} gathers its gradients token by token until the sequence ends",
)

STARTS_KNOWN = Condition(
    "starts that are known where a sequence or a block of it begins",
    lambda candidate: not candidate.late_starts,
    lambda candidate: f"{_names(candidate.late_starts)} starts from what is known at a token only",
)

COPIES_ALONE = Condition(
    "blocks in which every copy along an axis is alone",
    lambda candidate: not candidate.across_axes,
    lambda candidate: f"inside a block {_names(candidate.across_axes)} takes what a memory says across an axis",
)

SHARED: tuple[Condition, ...] = (
    NOTHING_GATHERED,
    STARTS_KNOWN,
    COPIES_ALONE,
    ALL_PARTS_ALIKE,
    SEVERAL_TOKENS,
    NOT_COUNTED,
    READ_WITH_VECTORS,
    VECTORS_COME_EARLIER,
)
