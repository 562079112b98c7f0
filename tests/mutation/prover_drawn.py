"""Mutants of the prover made by machine: every place and every operator, of which some are drawn by the digests of their edits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

from tests.mutation.mutator import Mutant, mutants
from tests.mutation.prover import changed_functions, text_of

MODULES = (
    "assumptions",
    "differentials",
    "given",
    "inverses",
    "normal_form",
    "polynomial",
    "products",
    "proofs",
    "quotients",
    "relations",
    "same_as",
    "signs",
    "stacks",
    "twins",
)
"""The modules of nlc/verify that prove: normal forms, what is given, signs, derivatives, and induction over whole systems."""

ONE_IN = 128
"""How few are drawn. The draw of one function does not change with the others."""


@dataclass(frozen=True, slots=True)
class Survivor:
    """A drawn mutant that says the same of every claim: its module, its operator, and words of the line that it makes."""

    module: str
    operator: str
    words: str
    because: str

    def covers(self, module: str, mutant: Mutant) -> bool:
        return (module, mutant.operator) == (self.module, self.operator) and self.words in mutant.after


def drawn_mutants(share: int = ONE_IN) -> Iterator[tuple[str, Mutant]]:
    """The mutants drawn, with their modules; those that are no Python, or change no function, are none."""
    for module in MODULES:
        for mutant in mutants(text_of(module)):
            if _digest(module, mutant) % share == 0 and _runs(module, mutant):
                yield module, mutant


def _digest(module: str, mutant: Mutant) -> int:
    words = (module, mutant.where, mutant.operator, mutant.before, mutant.after)
    return int.from_bytes(sha256("\n".join(words).encode()).digest()[:8], "big")


def _runs(module: str, mutant: Mutant) -> bool:
    try:
        compile(mutant.text, module, "exec", dont_inherit=True)
    except SyntaxError:
        return False
    return bool(changed_functions(module, mutant.text))


WORDS = "it changes words that are printed, and no verdict, condition or equation of a proof"
GUESS = "relations of states are guessed, and the induction refuses those that a tick does not preserve"
SYMMETRIC = "the inner product is symmetric"

SURVIVORS: tuple[Survivor, ...] = (
    Survivor("differentials", "arguments swapped", "spread(dot(weight, node)", SYMMETRIC),
    Survivor(
        "normal_form",
        "variable changed",
        "Polynomial(x.rows, node.columns, {(outside, word)",
        "what is the same at every datum is taken out of a sum when a claim is read, so that nothing reaches it",
    ),
    Survivor(
        "proofs",
        "arguments swapped",
        "settled_difference(subtract(second, first), rules)",
        "a difference is zero whichever side is taken from which; the words of a refutation have the other sign",
    ),
    Survivor("proofs", "arguments swapped", '"what is declared or given", text', WORDS),
    Survivor("relations", "variable changed", "not (left.is_zero and left.is_zero)", GUESS),
    Survivor("same_as", "arguments swapped", 'method=obstacle, detail="none"', WORDS),
    Survivor(
        "same_as",
        "loop shortened",
        "list(range(1, MOST_TICKS + 1))[1:]",
        "a run of two ticks shows what one of one tick does; the counterexample is longer",
    ),
    Survivor(
        "stacks", "loop shortened", "for letter in list(word)[:-1]", "no form has a stack inside an elementwise product that ends a word"
    ),
    Survivor("twins", "variable changed", "assert expression is not None, past", WORDS),
)
"""Those that no claim can tell from the prover, with the reason."""
