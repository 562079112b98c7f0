"""Mutants that compute what the module computes: which, and why. That they do so bit for bit, and that each exists, is tested."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from tests.mutation.mutator import Mutant


@dataclass(frozen=True, slots=True)
class Equivalent:
    """The mutants of these files that an operator makes by turning this text into that; `because` shows that it is no other function."""

    files: str
    operator: str
    old: str
    new: str
    because: str

    def covers(self, file: str, mutant: Mutant) -> bool:
        """Whether a mutant of a file, by its path below generated/, is one of those meant: its line, with the old text made new."""
        is_meant = fnmatchcase(file, self.files) and mutant.operator == self.operator and self.old in mutant.before
        return is_meant and mutant.after == mutant.before.replace(self.old, self.new)


def equivalence(file: str, mutant: Mutant) -> Equivalent | None:
    """The row that covers a mutant, if there is one."""
    return next((row for row in EQUIVALENT if row.covers(file, mutant)), None)


SYMMETRIC = "the wider of two dtypes does not depend on their order"
ONE_AXIS = "these specs have one axis, so that from the front or from the back it is the same dim"
NEVER_READ_AGAIN = "the tensor was made in the line before and nobody reads it again, nor does its gradient"

EQUIVALENT: tuple[Equivalent, ...] = (
    Equivalent(
        "architectures/*",
        "arguments swapped",
        "return like.new_zeros(batch, heads, self.d_v, self.d_k, dtype=torch.promote_types(like.dtype, torch.float32))",
        "return like.new_zeros(batch, heads, self.d_v, self.d_k, dtype=torch.promote_types(torch.float32, like.dtype))",
        SYMMETRIC,
    ),
    Equivalent(
        "architectures/*",
        "arguments swapped",
        "return zeros if state is None else state.to(torch.promote_types(state.dtype, zeros.dtype))",
        "return zeros if state is None else state.to(torch.promote_types(zeros.dtype, state.dtype))",
        SYMMETRIC,
    ),
    Equivalent(
        "optimizers/*",
        "arguments swapped",
        "dtype = torch.promote_types(x.dtype, torch.float32)",
        "dtype = torch.promote_types(torch.float32, x.dtype)",
        SYMMETRIC,
    ),
    Equivalent(
        "architectures/*",
        "minus added or dropped",
        "leading, memory = memory.shape[:-2], memory.flatten(0, -3)",
        "leading, memory = memory.shape[:2], memory.flatten(0, -3)",
        ONE_AXIS,
    ),
    Equivalent(
        "architectures/*",
        "minus added or dropped",
        "return torch.split(x.movedim(1, -2).flatten(0, -3), chunk, 1)",
        "return torch.split(x.movedim(1, 2).flatten(0, -3), chunk, 1)",
        ONE_AXIS,
    ),
    Equivalent(
        "architectures/*",
        "arguments swapped",
        "return torch.split(x.movedim(1, -2).flatten(0, -3), chunk, 1)",
        "return torch.split(x.movedim(-2, 1).flatten(0, -3), chunk, 1)",
        f"{ONE_AXIS}, and moving neighbours past each other is the same in both directions",
    ),
    Equivalent(
        "architectures/*",
        "minus added or dropped",
        "return whole.view(*leading, *whole.shape[1:]).movedim(-2, 1)",
        "return whole.view(*leading, *whole.shape[1:]).movedim(2, 1)",
        ONE_AXIS,
    ),
    Equivalent(
        "architectures/*",
        "arguments swapped",
        "return whole.view(*leading, *whole.shape[1:]).movedim(-2, 1)",
        "return whole.view(*leading, *whole.shape[1:]).movedim(1, -2)",
        f"{ONE_AXIS}, and moving neighbours past each other is the same in both directions",
    ),
    Equivalent(
        "architectures/*_rule.py",
        "done in place",
        "read = torch.baddbmm(read, attention, write)",
        "read = read.baddbmm_(attention, write)",
        NEVER_READ_AGAIN,
    ),
    Equivalent(
        "architectures/linear_attention.py",
        "done in place",
        "read = torch.baddbmm(read, attention, value)",
        "read = read.baddbmm_(attention, value)",
        NEVER_READ_AGAIN,
    ),
    Equivalent(
        "architectures/gated_delta_rule.py",
        "done in place",
        "memory = torch.baddbmm(memory, write.mT, products[:, -1, 1:, None] * key)",
        "memory = memory.baddbmm_(write.mT, products[:, -1, 1:, None] * key)",
        NEVER_READ_AGAIN,
    ),
    Equivalent("architectures/*_rule.py", "done in place", "error = prediction - v", "error = prediction.sub_(v)", NEVER_READ_AGAIN),
    Equivalent(
        "architectures/*",
        "word changed",
        "outputs = [q.new_empty(batch, 0, heads, self.d_v)]",
        "outputs = [q.new_ones(batch, 0, heads, self.d_v)]",
        "a tensor of 0 tokens has no numbers",
    ),
    Equivalent(
        "architectures/*",
        "condition fixed",
        'return torch.autocast("cpu" if x.is_meta else x.device.type, enabled=False)',
        'return torch.autocast("cpu" if True else x.device.type, enabled=False)',
        'x.device.type is "cpu" on the processor; only a machine with another device can tell the two apart',
    ),
    Equivalent(
        "architectures/gated_delta_rule.py",
        "mask moved",
        "attention = after[:, :, 1:] * (query @ key.mT).tril()",
        "attention = after[:, :, 1:] * (query @ key.mT).tril(1)",
        "the decays above the diagonal are exactly 0 and mask every finite number",
    ),
    Equivalent(
        "architectures/gated_delta_rule.py",
        "call dropped",
        "attention = after[:, :, 1:] * (query @ key.mT).tril()",
        "attention = after[:, :, 1:] * (query @ key.mT)",
        "the decays above the diagonal are exactly 0 and mask every finite number",
    ),
    Equivalent(
        "architectures/gated_delta_rule.py",
        "keyword dropped",
        "identity = torch.eye(decay.shape[1] + 1, dtype=decay.dtype, device=decay.device)",
        "identity = torch.eye(decay.shape[1] + 1, device=decay.device)",
        "0 and 1 are exact in float32, and torch computes in the wider dtype of the two",
    ),
    Equivalent(
        "optimizers/*",
        "elements swapped",
        "if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):",
        "if isinstance(value, bool) or not isinstance(value, (float, int)) or not math.isfinite(value):",
        "one of two types, in either order",
    ),
    Equivalent(
        "optimizers/gradient_descent.py",
        "condition fixed",
        'if name == "lr" and value < 0:',
        "if True and value < 0:",
        "this optimizer has no other hyperparameter",
    ),
)
