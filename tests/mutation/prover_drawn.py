"""Mutants of the prover made by machine: every place and every operator, of which some are drawn by the digests of their edits."""

from __future__ import annotations

from collections.abc import Iterator
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

ONE_IN = 64
"""How few are drawn. The draw of one function does not change with the others."""


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
