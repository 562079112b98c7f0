"""Mutants that compute what the module computes: which, and why. That they do so bit for bit, and that each exists, is tested."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from tests.mutation.mutator import Mutant


@dataclass(frozen=True, slots=True)
class Equivalent:
    """The mutants of these files (`FILES in FUNCTION`: in one function) that an operator makes by turning this text into that.

    `because` shows that it is no other function.
    """

    files: str
    operator: str
    old: str
    new: str
    because: str

    @property
    def is_exact(self) -> bool:
        """Whether the very same numbers come out: other chunks and turned products round otherwise, within the bounds of the squares."""
        return self.because not in (SPEED, TURNED, COMMUTES)

    def is_about(self, file: str) -> bool:
        """Whether a file, by its path below generated/, is one of those meant."""
        return any(fnmatchcase(file, pattern) for pattern in self.files.partition(" in ")[0].split("|"))

    def covers(self, file: str, mutant: Mutant) -> bool:
        """Whether a mutant of a file, by its path below generated/, is one of those meant: its line, with the old text made new once."""
        parts = mutant.before.split(self.old)
        once = {self.old.join(parts[:n]) + self.new + self.old.join(parts[n:]) for n in range(1, len(parts))}
        function = self.files.partition(" in ")[2]
        return self.is_about(file) and function in ("", mutant.where) and mutant.operator == self.operator and mutant.after in once


def equivalence(file: str, mutant: Mutant) -> Equivalent | None:
    """The row that covers a mutant, if there is one."""
    return next((row for row in EQUIVALENT if row.covers(file, mutant)), None)


SYMMETRIC = "the wider of two dtypes does not depend on their order"
MEMBERS = "what is among some is among them in any order"
SAME_DTYPE = "the streams were converted to the dtype of the state, on whose device they are"
ONE_LENGTH = "streams of one length have equally many chunks"
ONE_AXIS = "these specs have one axis: from the front or from the back it is the same dim"
SWAPPED = "moving one of two neighbours past the other is the same in both directions, and these specs have one axis"
UNUSED = "the tensor that is overwritten was made for this sum, and neither the values nor the gradients read it again"
CONSTANT = "it depends on no input, so that no gradient flows through it"
FINITE_MASK = "the decays above the diagonal are exactly 0 and mask every finite number"
LEADING = "the products of a shorter chunk are the first rows and columns of those of a longer one"
COMMUTES = "two sums into one tensor, in either order; only the rounding differs"
SPEED = "it changes the length of chunks, which is about speed alone"
TURNED = "a stack of matrices is turned for speed alone, and what is made of it is turned back"
LISTS = "lists over the same parameters are equally long"
NO_AXES = "these specs have no axes: there is nothing to flatten, and the token is next to the batch already"
HEADS = "*/[!m]*|*/m[!l]*"
"""The files of specs with an axis: all but those of networks in training, `mlp_*`."""
NO_GRAPH = "whether a saved gradient has a graph does not change its numbers"
WIDE = "optimizers/muon.py|optimizers/m3.py in _stacked_wide"
CONVOLVED = "total + kernel[tokens] * x[:, width - 1 - tokens : -tokens]"
SEEN = "stacked_weights @ seen.mT @ seen)"
LAYER = "*/linear_attention_layer.py"
ATTENTION = "*_attention*"
OWN_SCALE = "the kernel's own scale is that of the spec"
CAT = "torch.cat gives the wider dtype of its parts"
MULTIPLES = "a number is a multiple of a period where its negative is"
DOUBLING = "a doubling beyond the last token finds nothing left to join"
EXCHANGED = "exchanging two dims is the same in either order"
NO_TOKENS = "a tensor of 0 tokens has no numbers"
BOOLEAN = "whether numbers are finite is asked, and no gradient flows through that"

ROWS: tuple[tuple[str, str, str, str, str], ...] = (
    (WIDE, "index changed", "stacked.shape[-1]", "stacked.shape[0]", TURNED),
    (WIDE, "index changed", "stacked.shape[-2]", "stacked.shape[0]", TURNED),
    ("optimizers/dgd.py in _move", "done in place", "torch.baddbmm(stacked_weights, ", "stacked_weights.baddbmm_(", UNUSED),
    ("*", "arguments swapped", "promote_types(like.dtype, torch.float32)", "promote_types(torch.float32, like.dtype)", SYMMETRIC),
    ("*", "arguments swapped", "promote_types(x.dtype, torch.float32)", "promote_types(torch.float32, x.dtype)", SYMMETRIC),
    ("*", "arguments swapped", "promote_types(weight.dtype, torch.float32)", "promote_types(torch.float32, weight.dtype)", SYMMETRIC),
    ("optimizers/dgd.py in step", "statement dropped", "self._gather()", "pass", "a process alone has nothing to gather"),
    ("optimizers/* in record", "detached", ".to(dtype)", ".to(dtype).detach()", "it was detached before"),
    ("*", "arguments swapped", "promote_types(state.dtype, zeros.dtype)", "promote_types(zeros.dtype, state.dtype)", SYMMETRIC),
    ("*", "arguments swapped", "promote_types(state[name].dtype, zero.dtype)", "promote_types(zero.dtype, state[name].dtype)", SYMMETRIC),
    ("optimizers/*", "elements swapped", '(None, "raise", "skip")', '("raise", None, "skip")', MEMBERS),
    ("optimizers/*", "elements swapped", '(None, "raise", "skip")', '(None, "skip", "raise")', MEMBERS),
    (HEADS, "minus added or dropped", "memory.shape[:-2], memory.flatten", "memory.shape[:2], memory.flatten", ONE_AXIS),
    (HEADS, "minus added or dropped", "x.movedim(1, -2)", "x.movedim(1, 2)", ONE_AXIS),
    (HEADS, "minus added or dropped", "*whole.shape[1:]).movedim(-2, 1)", "*whole.shape[1:]).movedim(2, 1)", ONE_AXIS),
    ("*", "arguments swapped", "x.movedim(1, -2)", "x.movedim(-2, 1)", SWAPPED),
    ("*", "arguments swapped", ".movedim(-2, 1)", ".movedim(1, -2)", SWAPPED),
    ("*", "keyword dropped", "), strict=True)", "))", ONE_LENGTH),
    ("*", "constant changed", "), strict=True)", "), strict=False)", ONE_LENGTH),
    ("*", "word changed", ".new_empty(batch, 0, ", ".new_ones(batch, 0, ", "a tensor of 0 tokens has no numbers"),
    ("*/mlp_training.py", "variable changed", "= memory.shape[:-2]", "= query.shape[:-2]", "without axes both are the batch alone"),
    ("*/mlp_training.py", "call dropped", "memory.flatten(0, -3)", "memory", NO_AXES),
    ("*/mlp_training.py", "arguments swapped", ".flatten(0, -3)", ".flatten(-3, 0)", NO_AXES),
    ("*/mlp_training.py", "call dropped", "memory.view(*leading, *memory.shape[1:])", "memory", NO_AXES),
    ("*/mlp_training.py", "call dropped", "x.movedim(1, -2).flatten(0, -3)", "x.movedim(1, -2)", NO_AXES),
    ("*/mlp_training.py", "call dropped", "x.movedim(1, -2).flatten", "x.flatten", NO_AXES),
    ("*/mlp_training.py", "call dropped", ".movedim(-2, 1)", "", NO_AXES),
    ("*/mlp_training.py", "call dropped", "whole.view(*leading, *whole.shape[1:])", "whole", NO_AXES),
    ("*", "condition fixed", '"cpu" if x.is_meta', '"cpu" if True', "the two differ only where there is a device other than the processor"),
    ("*", "keyword dropped", "1, dtype=decay.dtype, ", "1, ", "0 and 1 are exact in float32, torch computes in the wider dtype"),
    ("*", "mask moved", "after * (query @ key.mT).tril()", "after * (query @ key.mT).tril(1)", FINITE_MASK),
    ("*", "call dropped", "after * (query @ key.mT).tril()", "after * (query @ key.mT)", FINITE_MASK),
    ("*", "mask moved", "before * (query @ key.mT).tril(-1)", "before * (query @ key.mT).tril(1)", FINITE_MASK),
    ("*/titans_linear.py", "done in place", "prediction - v", "prediction.sub_(v)", UNUSED),
    (
        "*/dgd.py",
        "statements swapped",
        'layer_input = [self.contexts[x]["layer_input"] for x in weights] '
        'output_gradient = [self.contexts[x]["output_gradient"] for x in weights]',
        'output_gradient = [self.contexts[x]["output_gradient"] for x in weights] '
        'layer_input = [self.contexts[x]["layer_input"] for x in weights]',
        "neither reads what the other makes",
    ),
    (
        "*/dmgd.py",
        "statements swapped",
        'momentum_W1 = [self.state[x]["momentum.W1"] for x in weights] momentum_W2 = [self.state[x]["momentum.W2"] for x in weights]',
        'momentum_W2 = [self.state[x]["momentum.W2"] for x in weights] momentum_W1 = [self.state[x]["momentum.W1"] for x in weights]',
        "neither reads what the other makes",
    ),
    ("*", "call dropped", "_power_of_two(min(chunk, x.shape[1]))", "_power_of_two(chunk)", SPEED),
    ("*", "arguments swapped", "min(chunk, x.shape[1])", "min(x.shape[1], chunk)", "the lesser of two numbers, in either order"),
    ("*", "constant changed", "return 1 if tokens <= 1 else", "return 1 if tokens <= 2 else", SPEED),
    ("*", "constant changed", "return 1 if tokens <= 1 else", "return 2 if tokens <= 1 else", SPEED),
    ("*", "detached", "torch.zeros_like(query[..., :1])", "torch.zeros_like(query.detach()[..., :1])", CONSTANT),
    ("*", "arguments swapped", "addcmul(write, decay, memories[-1])", "addcmul(write, memories[-1], decay)", "a product, in either order"),
    ("*", "done in place", "read + attention @ value", "read.add_(attention @ value)", UNUSED),
    ("*/gated_linear_attention.py", "constant changed", "torch.cat(pieces, 1)", "torch.cat(pieces, 2)", "there is one piece"),
    ("*", "done in place", "torch.baddbmm(read, attention, ", "read.baddbmm_(attention, ", UNUSED),
    ("*/gated_*", "done in place", "torch.baddbmm(memory, ", "memory.baddbmm_(", UNUSED),
    ("*/retention.py", "done in place", "torch.baddbmm(memory, ", "memory.baddbmm_(", UNUSED),
    ("*/mamba2.py", "done in place", "torch.baddbmm(memory, ", "memory.baddbmm_(", UNUSED),
    ("*/kimi_delta_attention.py", "done in place", "torch.baddbmm(memory, ", "memory.baddbmm_(", UNUSED),
    ("*", "mask moved", "* scores.tril(-1), write)", "* scores.tril(0), write)", FINITE_MASK),
    ("*", "mask moved", "* scores.tril(-1), write)", "* scores.tril(1), write)", FINITE_MASK),
    ("*", "mask moved", "* scores.tril(), write)", "* scores.tril(1), write)", FINITE_MASK),
    ("*", "keyword dropped", "lengths, strict=True)", "lengths)", ONE_LENGTH),
    ("*", "constant changed", "lengths, strict=True)", "lengths, strict=False)", ONE_LENGTH),
    ("*", "call dropped", "* scores.tril(-1), write)", "* scores, write)", FINITE_MASK),
    ("*", "call dropped", "* scores.tril(), write)", "* scores, write)", FINITE_MASK),
    (
        "*/delta_product.py",
        "statements swapped",
        "q, k, v, beta = (x.to(memory.dtype) for x in (q, k, v, beta)) q = q.repeat_interleave(2, 1)",
        "q = q.repeat_interleave(2, 1) q, k, v, beta = (x.to(memory.dtype) for x in (q, k, v, beta))",
        "a conversion, before or after numbers are repeated",
    ),
    (
        "*/gated_*",
        "done in place",
        "attention + torch.diag_embed((query * key).sum(-1))",
        "attention.add_(torch.diag_embed((query * key).sum(-1)))",
        UNUSED,
    ),
    ("*delta_rule.py", "done in place", "prediction - v", "prediction.sub_(v)", UNUSED),
    ("*/retention.py", "detached", "heads_index)", "heads_index.detach())", CONSTANT),
    ("*/retention.py", "detached", "after[", "after.detach()[", CONSTANT),
    ("*/retention.py", "detached", "products[", "products.detach()[", CONSTANT),
    ("*/retention.py", "detached", "gamma[", "gamma.detach()[", CONSTANT),
    ("*/retention.py", "constant changed", ".unsqueeze(1).expand(-1, min", ".unsqueeze(2).expand(-1, min", "both dims have size 1"),
    ("*/retention.py", "call dropped", "min(self.chunk, key.shape[1])", "self.chunk", LEADING),
    ("*/retention.py", "call dropped", "min(self.chunk, key.shape[1])", "key.shape[1]", LEADING),
    (
        "*/retention.py",
        "arguments swapped",
        "min(self.chunk, key.shape[1])",
        "min(key.shape[1], self.chunk)",
        "the lesser, in either order",
    ),
    ("*/retention.py", "minus added or dropped", "key.shape[1]), -1)", "key.shape[1]), 1)", "the dim has size 1, kept or given"),
    ("*/retention.py", "call dropped", ".contiguous()", "", "the same numbers, in another layout"),
    ("*/retention.py", "mask moved", "(query @ key.mT).tril()", "(query @ key.mT).tril(1)", FINITE_MASK),
    ("*/retention.py", "call dropped", "(query @ key.mT).tril()", "(query @ key.mT)", FINITE_MASK),
    ("*/retention.py", "minus added or dropped", "heads, -1)", "heads, 1)", "the dim has size 1, kept or given"),
    ("*/retention.py", "variable changed", "torch.arange(state.shape[1]", "torch.arange(v.shape[1]", "v has the same heads"),
    ("*/retention.py", "variable changed", "dtype=state.dtype", "dtype=v.dtype", SAME_DTYPE),
    ("*/retention.py", "variable changed", "device=state.device", "device=v.device", SAME_DTYPE),
    ("*/softmax_attention*", "word changed", ".new_zeros(batch, 0, ", ".new_ones(batch, 0, ", NO_TOKENS),
    (ATTENTION, "arguments swapped", ".transpose(1, 2)", ".transpose(2, 1)", EXCHANGED),
    (ATTENTION, "keyword dropped", ", seen, scale=scale)", ", seen)", OWN_SCALE),
    (
        ATTENTION,
        "keyword dropped",
        "is_causal=seen is None, scale=scale)",
        "is_causal=seen is None)",
        "the kernel's own scale is that of the spec",
    ),
    (f"{ATTENTION} in _ages", "keyword dropped", "dtype=like.dtype, ", "", "ages are compared, nothing more"),
    (f"{ATTENTION} in _ages", "detached", "places", "places.detach()", CONSTANT),
    (f"{ATTENTION} in _ages", "term dropped", "places[data - queries :", "places[(-queries) :", "without queries nothing is seen"),
    (
        ATTENTION,
        "statements swapped",
        'q, k, v = (x.to(start["attention.k"].dtype) for x in (q, k, v)) k_window = torch.cat((start["attention.k"], k), 1)',
        'k_window = torch.cat((start["attention.k"], k), 1) q, k, v = (x.to(start["attention.k"].dtype) for x in (q, k, v))',
        CAT,
    ),
    (LAYER, "minus added or dropped", "memory_read.flatten(-2)", "memory_read.flatten(2)", ONE_AXIS),
    (
        f"{LAYER} in step",
        "minus added or dropped",
        ".mT, -1, (self.heads, -1))",
        ".mT, 1, (self.heads, -1))",
        "a token has two dims, batch and d_model",
    ),
    (LAYER, "constant changed", "False,", "True,", "over a period of one step the mean is the sum"),
    (LAYER, "call dropped", "gradient.detach().clone()", "gradient.clone()", NO_GRAPH),
    (LAYER, "detached", "gradient.detach().clone().to(x)", "gradient.detach().clone().to(x).detach()", NO_GRAPH),
    (
        "*",
        "elements swapped",
        "isinstance(value, (int, float))",
        "isinstance(value, (float, int))",
        "one of two types, in either order",
    ),
    (
        "*/nesterov_momentum.py",
        "statements swapped",
        "torch._foreach_add_(weights, gradient, alpha=-learning_rate) torch._foreach_add_(weights, momentum, alpha=decay)",
        "torch._foreach_add_(weights, momentum, alpha=decay) torch._foreach_add_(weights, gradient, alpha=-learning_rate)",
        COMMUTES,
    ),
    (
        "*/titans.py",
        "statements swapped",
        "blocks = zip(*(torch.split(x.movedim(1, 2).flatten(0, 1), lengths, 1) for x in streams), strict=True) "
        'moved = {name: x.flatten(0, 1) for name, x in state.items() if name != "position"}',
        'moved = {name: x.flatten(0, 1) for name, x in state.items() if name != "position"} '
        "blocks = zip(*(torch.split(x.movedim(1, 2).flatten(0, 1), lengths, 1) for x in streams), strict=True)",
        "views of streams and of states, in either order",
    ),
    ("*/atlas.py|*/omega.py|*/ttt_linear_plain.py in step", "done in place", "prediction - v", "prediction.sub_(v)", UNUSED),
    ("*/dla.py|*/yaad.py in _read_matrix", "done in place", "torch.baddbmm(read, ", "read.baddbmm_(", UNUSED),
    ("*/cms.py", "done in place", "near + middle", "near.add_(middle)", UNUSED),
    ("*_layer.py in _convolved", "done in place", CONVOLVED, f"total.add_({CONVOLVED[8:]})", UNUSED),
    ("*/mesa.py", "done in place", "torch.baddbmm(memory, ", "memory.baddbmm_(", UNUSED),
    ("*/ttt_mlp.py", "done in place", "error * scale", "error.mul_(scale)", UNUSED),
    ("*/delta_gradient_descent.py", "done in place", "(stacked_gradient + " + SEEN, "(stacked_gradient.add_(" + SEEN + ")", UNUSED),
    ("*/dgd_of_samples.py", "done in place", "torch.baddbmm(stacked_weights, ", "stacked_weights.baddbmm_(", UNUSED),
    ("*/generalised_momentum.py", "done in place", "torch.baddbmm(stacked_momentum, ", "stacked_momentum.baddbmm_(", UNUSED),
    ("* in _managed", "detached", "outputs, *last", "outputs.detach(), *last", BOOLEAN),
    ("* in _managed", "detached", "outputs, last)", "outputs, last.detach())", BOOLEAN),
    ("* in _watched", "detached", "x[:, :0] for name", "x.detach()[:, :0] for name", NO_TOKENS),
    ("*_context*.py in _learned", "minus added or dropped", "before + x.shape[1]", "-(before + x.shape[1])", MULTIPLES),
    ("*_context_layer.py in _ages", "term dropped", "places[data - queries :", "places[(-queries) :", "it is called with a query or more"),
    ("*/mlp_training_with_momentum.py in _shares", "factor dropped", "states + n * writes])", "states + n])", "a token writes once"),
    ("* in _shares", "term dropped", "(tokens - 1).bit_length()", "(tokens).bit_length()", DOUBLING),
    (
        "*/orthogonal_momentum.py",
        "transposed",
        "torch.baddbmm(gram, gram, gram",
        "torch.baddbmm(gram, gram.mT, gram",
        "a Gram matrix is symmetric",
    ),
    ("optimizers/*", "keyword dropped", ", strict=True)", ")", LISTS),
    ("optimizers/*", "constant changed", ", strict=True)", ", strict=False)", LISTS),
    ("optimizers/* in _move", "condition fixed", "if x.grad is not None]", "if True]", "all tensors that move have gradients"),
    (
        "*/gradient_descent.py",
        "condition fixed",
        'name == "lr" and value < 0',
        "True and value < 0",
        "this optimizer has no other hyperparameter",
    ),
    (
        "*/m3.py",
        "statements swapped",
        'square_sum = [self.state[x]["square_sum"] for x in weights] slow = [self.state[x]["slow"] for x in weights]',
        'slow = [self.state[x]["slow"] for x in weights] square_sum = [self.state[x]["square_sum"] for x in weights]',
        "two lists, in either order",
    ),
)

EQUIVALENT: tuple[Equivalent, ...] = tuple(Equivalent(*row) for row in ROWS)
