"""The claims that prove the identity of each form rule, by induction over the tokens of a chunk, for all sizes and lengths."""

from __future__ import annotations

FORMS = "claims/forms.yaml"
CATALOGUE = "claims/nested_learning.yaml"
"""The files that hold them."""

Proofs = tuple[tuple[str, str], ...]
"""Files and the ids of claims in them."""


def _of(file: str, *names: str) -> Proofs:
    return tuple((file, name) for name in names)


PREFIX_SUMS = _of(FORMS, "prefix_sum_start", "prefix_sum_step", "prefix_sum_step_with_decay", "prefix_sum_output")
TRIANGLES = _of(FORMS, "triangular_step", "triangular_step_with_decay", "triangular_step_separate_vectors", "triangular_output")
BY_CHANNEL = _of(FORMS, "prefix_sum_step_by_channel")
COUPLED = _of(FORMS, "coupled_step_of_momentum", "coupled_step_of_memory")
GATHERED = _of(FORMS, "gathered_step", "gathered_errors")
HELD = _of(FORMS, "dual_gradient", "dual_step", "dual_output")
SOLVED = _of(CATALOGUE, "softmax_attention", "nadaraya_watson")
THE_LAW_ITSELF: Proofs = ()


def proofs_text(proofs: Proofs) -> str:
    """The claims, file by file."""
    files = dict.fromkeys(file for file, _ in proofs)
    return "; ".join(f"{', '.join(name for place, name in proofs if place == file)} ({file})" for file in files)
