"""The best chunk forms we could write by hand: the yardstick that emitted code is measured against (benchmarks/forms.py).

Inputs are (batch, time, heads, size), gates (batch, time, heads), states (batch, heads, d_v, d_k); each function returns y and the state
after the last token, exactly the recurrence's. What the measurements decided (float32, 2 CPU cores, (1, 4, 2048, 64)):

- Chunk by chunk, each solved against the state it finds: no right-hand sides for an open state, and a chunk's matrices stay in cache.
  Solving all chunks at once with the state left open is 1.4 times slower forward and 1.15 times with the backward.
- Split, never padded: the last chunk is short, so no token exists that must be kept from writing.
- Batch and heads as one leading dim, so that each sum with a product is one `baddbmm`: 10 % faster than `@` and `+`.
- The solve reads only what is below the diagonal of its matrix: masking it first costs a pass over memory and changes nothing.
- Products of decays by a bidiagonal solve: as fast as `cumprod` of a masked matrix forward, 2.5 times faster backward (where
  `cumprod` is quadratic as soon as a gate is 0), 4 times faster than doubling, and one line.
- A decay for each key channel, by halves: every pair of tokens meets at a border of halves, in a product of matrices. Sub-chunks of 16
  tokens with exact products inside them take 1.5 times as long, forward and with the backward; sub-chunks of 8 or 32 take longer still.
- 64 tokens a chunk: 32 is 11 to 15 % slower and 128 is 7 to 17 % slower.
- A triangular solve, no inverse: an inverse by halves, of products alone and for all chunks at once, takes 2 times as long forward as
  the solves chunk by chunk, and 1.4 to 2 times with the backward, with or without a backward of its own (one thread).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

CHUNK = 64


def linear_attention(q: Tensor, k: Tensor, v: Tensor, *, state: Tensor | None = None, chunk: int = CHUNK) -> tuple[Tensor, Tensor]:
    """M_t = M_{t-1} + v_t k_t^T, y_t = M_t q_t."""
    memory, leading = _initial(q, v, state)
    outputs = []
    for query, key, value in zip(*(_pieces(x, chunk) for x in (q, k, v)), strict=True):
        outputs.append(torch.baddbmm((query @ key.mT).tril() @ value, query, memory.mT))
        memory = torch.baddbmm(memory, value.mT, key)
    return _joined(outputs, leading), memory.view(*leading, *memory.shape[1:])


def mamba2(
    q: Tensor, k: Tensor, v: Tensor, delta: Tensor, alpha: Tensor, *, state: Tensor | None = None, chunk: int = CHUNK
) -> tuple[Tensor, Tensor]:
    """M_t = alpha_t M_{t-1} + delta_t v_t k_t^T, y_t = M_t q_t."""
    memory, leading = _initial(q, v, state)
    streams = (q, k, delta[..., None] * v, alpha[..., None])
    outputs = []
    for query, key, value, decay in zip(*(_pieces(x, chunk) for x in streams), strict=True):
        within = decay_products(decay)
        since_start = within[:, :, :1] * decay[:, :1]
        outputs.append(torch.baddbmm((within * (query @ key.mT)) @ value, since_start * query, memory.mT))
        memory = torch.baddbmm(since_start[:, -1:] * memory, value.mT, within[:, -1:].mT * key)
    return _joined(outputs, leading), memory.view(*leading, *memory.shape[1:])


def retention(q: Tensor, k: Tensor, v: Tensor, *, state: Tensor | None = None, chunk: int = CHUNK) -> tuple[Tensor, Tensor]:
    """M_t = gamma M_{t-1} + v_t k_t^T, y_t = M_t q_t, with gamma = 1 - 2^(-5-h) in head h: what depends on gamma alone is made once."""
    memory, leading = _initial(q, v, state)
    gamma = (1 - 2.0 ** (-5 - torch.arange(leading[1], dtype=memory.dtype))).repeat(leading[0])[:, None, None]
    tokens = torch.arange(chunk, dtype=memory.dtype)
    within = (gamma ** (tokens[:, None] - tokens).clamp(min=0)).tril()
    since_start = within[:, :, :1] * gamma
    outputs = []
    for query, key, value in zip(*(_pieces(x, chunk) for x in (q, k, v)), strict=True):
        n = key.shape[1]
        outputs.append(torch.baddbmm((within[:, :n, :n] * (query @ key.mT)) @ value, since_start[:, :n] * query, memory.mT))
        memory = torch.baddbmm(since_start[:, n - 1 : n] * memory, value.mT, within[:, n - 1 : n, :n].mT * key)
    return _joined(outputs, leading), memory.view(*leading, *memory.shape[1:])


def linear_attention_layer(layer: nn.Module) -> Callable[..., tuple[Tensor, Tensor]]:
    """Linear attention between the projections of a layer, as plain matrix products around the memory."""

    def run(x: Tensor) -> tuple[Tensor, Tensor]:
        weights = (layer.get_parameter(f"project_{name}") for name in ("q", "k", "v"))
        q, k, v = (torch.unflatten(x @ weight.mT, -1, (4, -1)) for weight in weights)
        y, memory = linear_attention(q, k, v)
        return y.flatten(-2) @ layer.get_parameter("project_out").mT, memory

    return run


def consolidation(q: Tensor, k: Tensor, v: Tensor, beta: Tensor, *, period: int = 16) -> tuple[Tensor, dict[str, Tensor]]:
    """A delta rule for v_t - N k_t beside a memory N that moves every 16 tokens towards what the delta rule says: one loop over periods."""
    fast, leading = _initial(q, v, None)
    slow, outputs = torch.zeros_like(fast), []
    gradient = torch.zeros_like(fast)
    for query, key, value, rate in zip(*(_pieces(x, period) for x in (q, k, v, beta[..., None])), strict=True):
        known = key @ slow.mT
        erase = rate * key
        write = _solve(erase @ key.mT, torch.baddbmm(rate * (value - known), erase, fast.mT, alpha=-1))
        asked = torch.cat((query, key), 1)
        said = torch.baddbmm(torch.cat(((query @ key.mT).tril(), (key @ key.mT).tril()), 1) @ write, asked, fast.mT)
        read, learned = said.chunk(2, 1)
        outputs.append(torch.baddbmm(read, query, slow.mT))
        fast = torch.baddbmm(fast, write.mT, key)
        gradient = (known - learned).mT @ key
        if key.shape[1] == period:
            slow, gradient = torch.add(slow, gradient, alpha=-0.01), torch.zeros_like(gradient)
    shape = (*leading, *fast.shape[1:])
    return _joined(outputs, leading), {"fast": fast.view(shape), "slow": slow.view(shape), "slow.gradient": gradient.view(shape)}


def delta_rule(q: Tensor, k: Tensor, v: Tensor, beta: Tensor, *, state: Tensor | None = None, chunk: int = CHUNK) -> tuple[Tensor, Tensor]:
    """M_t = M_{t-1} + beta_t (v_t - M_{t-1} k_t) k_t^T, y_t = M_t q_t."""
    memory, leading = _initial(q, v, state)
    outputs = []
    for query, key, value, rate in zip(*(_pieces(x, chunk) for x in (q, k, v, beta[..., None])), strict=True):
        erase = rate * key
        write = _solve(erase @ key.mT, torch.baddbmm(rate * value, erase, memory.mT, alpha=-1))
        outputs.append(torch.baddbmm((query @ key.mT).tril() @ write, query, memory.mT))
        memory = torch.baddbmm(memory, write.mT, key)
    return _joined(outputs, leading), memory.view(*leading, *memory.shape[1:])


def delta_product(q: Tensor, k: Tensor, v: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
    """The delta rule over every pair of a token, of which the last is read; keys and rates are (batch, time, pairs, heads, ...)."""
    pairs = k.shape[2]
    asked, value = (x.repeat_interleave(pairs, 1) for x in (q, v))
    y, memory = delta_rule(asked, k.flatten(1, 2), value, beta.flatten(1, 2))
    return y[:, pairs - 1 :: pairs], memory


def gated_delta_rule(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, alpha: Tensor, *, state: Tensor | None = None, chunk: int = CHUNK
) -> tuple[Tensor, Tensor]:
    """M_t = alpha_t M_{t-1} + beta_t (v_t - alpha_t M_{t-1} k_t) k_t^T, y_t = M_t q_t; `q` has at least one token."""
    memory, leading = _initial(q, v, state)
    streams = (q, k, v, beta[..., None], alpha[..., None])
    outputs = []
    for query, key, value, rate, decay in zip(*(_pieces(x, chunk) for x in streams), strict=True):
        within = decay_products(decay)
        since_start = within[:, :, :1] * decay[:, :1]
        erase = rate * key
        write = _solve(within * (erase @ key.mT), torch.baddbmm(rate * value, since_start * erase, memory.mT, alpha=-1))
        outputs.append(torch.baddbmm((within * (query @ key.mT).tril()) @ write, since_start * query, memory.mT))
        memory = torch.baddbmm(since_start[:, -1:] * memory, write.mT, within[:, -1:].mT * key)
    return _joined(outputs, leading), memory.view(*leading, *memory.shape[1:])


def titans_linear(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    learning_rate: Tensor,
    decay: Tensor,
    retention: Tensor,
    *,
    state: tuple[Tensor, Tensor] | None = None,
    chunk: int = CHUNK,
) -> tuple[Tensor, Tensor]:
    """S_t = decay_t S_{t-1} - rate_t (M_{t-1} k_t - v_t) k_t^T, M_t = retention_t M_{t-1} + S_t, y_t = M_t q_t; gives y and (S | M).

    What a write leaves in M is what it leaves in S, kept on: products of retentions times products of decays, matrix by matrix.
    """
    memory, leading = _initial(q, v, None if state is None else state[1])
    both = torch.cat((torch.zeros_like(memory) if state is None else state[0].flatten(0, 1), memory), -1)
    streams = (q, k, v, learning_rate[..., None], decay[..., None], retention[..., None])
    outputs = []
    for query, key, value, rate, fading, keeping in zip(*(_pieces(x, chunk) for x in streams), strict=True):
        surprise, kept = _products_from_start(fading), _products_from_start(keeping)
        within = kept[:, 1:, 1:] @ surprise[:, 1:]  # of S at the start and of every write, in M
        after = torch.cat((within[:, :, :1], kept[:, 1:, :1]), -1)
        before = torch.cat((torch.zeros_like(after[:, :1]), after[:, :-1]), 1)
        before[:, 0, 1] = 1.0
        erase = rate * key
        overlap = nn.functional.pad(within[:, :-1, 1:], (0, 0, 1, 0)) * (erase @ key.mT)
        write = _solve(overlap, torch.baddbmm(rate * value, _beside(before, erase), both.mT, alpha=-1))
        attention = within[:, :, 1:] * (query @ key.mT)
        outputs.append(torch.baddbmm(_beside(after, query) @ both.mT, attention, write))
        first, second = both.chunk(2, -1)
        moved = torch.cat((surprise[:, -1:, :1] * first, after[:, -1:, :1] * first + after[:, -1:, 1:] * second), -1)
        last = torch.stack((surprise[:, -1, 1:], within[:, -1, 1:]), -1)
        both = torch.baddbmm(moved, write.mT, _beside(last, key))
    return _joined(outputs, leading), both.view(*leading, *both.shape[1:])


def _products_from_start(decay: Tensor) -> Tensor:
    """As `decay_products`, with a row and a column for the start: (copies, n, 1) -> (copies, n + 1, n + 1)."""
    return decay_products(nn.functional.pad(decay, (0, 0, 1, 0)))


def _beside(shares: Tensor, x: Tensor) -> Tensor:
    """(copies, n, 2), (copies, n, size) -> (copies, n, 2 size)."""
    return torch.cat((shares[..., :1] * x, shares[..., 1:] * x), -1)


def gated_linear_attention(
    q: Tensor, k: Tensor, v: Tensor, alpha: Tensor, *, state: Tensor | None = None, chunk: int = CHUNK
) -> tuple[Tensor, Tensor]:
    """M_t = M_{t-1} diag(alpha_t) + v_t k_t^T, y_t = M_t q_t; `chunk`, a power of two, divides the number of tokens."""
    memory, leading = _initial(q, v, state)
    query, key, value, decay = (torch.unflatten(x.transpose(1, 2).flatten(0, 1), 1, (-1, chunk)) for x in (q, k, v, alpha))
    overlap, reading, writing, kept = _by_halves(decay * query, key, decay)
    inside = (overlap + torch.diag_embed((query * key).sum(-1))) @ value
    memories = [memory]
    for written, remaining in zip((value.mT @ writing).unbind(1), kept.unbind(1), strict=True):
        memories.append(torch.addcmul(written, remaining, memories[-1]))
    outputs = inside + reading @ torch.stack(memories[:-1], 1).mT
    return _joined([outputs.flatten(1, 2)], leading), memories[-1].view(*leading, *memory.shape[1:])


def kimi_delta_attention(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, alpha: Tensor, *, state: Tensor | None = None, chunk: int = CHUNK
) -> tuple[Tensor, Tensor]:
    """K_t = M_{t-1} diag(alpha_t), M_t = K_t + beta_t (v_t - K_t k_t) k_t^T, y_t = M_t q_t; `chunk`, as above, divides the tokens."""
    memory, leading = _initial(q, v, state)
    streams = (q, k, v, beta[..., None], alpha)
    query, key, value, rate, decay = (torch.unflatten(x.transpose(1, 2).flatten(0, 1), 1, (-1, chunk)) for x in streams)
    overlap, erasing, writing, kept = _by_halves(decay * (rate * key), key, decay)
    attention, reading, _, _ = _by_halves(decay * query, key, decay)
    attention = attention + torch.diag_embed((query * key).sum(-1))
    each = (x.unbind(1) for x in (overlap, erasing, rate * value, attention, reading, writing, kept))
    outputs = []
    for among, erase, given, scores, asked, left, remaining in zip(*each, strict=True):
        write = _solve(among, torch.baddbmm(given, erase, memory.mT, alpha=-1))
        outputs.append(torch.baddbmm(asked @ memory.mT, scores, write))
        memory = torch.baddbmm(remaining * memory, write.mT, left)
    return _joined(outputs, leading), memory.view(*leading, *memory.shape[1:])


def rwkv7(
    q: Tensor, k: Tensor, removal: Tensor, v: Tensor, rate: Tensor, alpha: Tensor, *, state: Tensor | None = None, chunk: int = CHUNK // 2
) -> tuple[Tensor, Tensor]:
    """M_t = M_{t-1} diag(alpha_t) - M_{t-1} r_t (rate_t r_t)^T + v_t k_t^T, y_t = M_t q_t with r the removal; `chunk`, as above.

    What is written along k is known, so the system is about the removals alone.
    """
    memory, leading = _initial(q, v, state)
    streams = (q, k, removal, v, rate * removal, alpha)
    query, key, gone, value, erased, decay = (torch.unflatten(x.transpose(1, 2).flatten(0, 1), 1, (-1, chunk)) for x in streams)
    overlap, erasing, erased_left, kept = _by_halves(gone, erased, decay)
    given, _, key_left, _ = _by_halves(gone, key, decay)
    among_erased, reading, _, _ = _by_halves(decay * query, erased, decay)
    among_keys, _, _, _ = _by_halves(decay * query, key, decay)
    among_erased = among_erased + torch.diag_embed((query * erased).sum(-1))
    read = (among_keys + torch.diag_embed((query * key).sum(-1))) @ value
    each = (x.unbind(1) for x in (overlap, erasing, given @ value, among_erased, reading, read, erased_left, kept, value.mT @ key_left))
    outputs = []
    for among, erase, known, scores, asked, so_far, left, remaining, written in zip(*each, strict=True):
        write = _solve(among, torch.baddbmm(known, erase, memory.mT).neg())
        outputs.append(torch.baddbmm(torch.baddbmm(so_far, asked, memory.mT), scores, write))
        memory = torch.baddbmm(torch.addcmul(written, remaining, memory), write.mT, left)
    return _joined(outputs, leading), memory.view(*leading, *memory.shape[1:])


def softmax_attention(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Torch's kernel, called directly; what is carried on are keys and values."""
    read = nn.functional.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (q, k, v)), is_causal=True)
    return read.transpose(1, 2), {"k": k, "v": v}


def sliding_window_attention(q: Tensor, k: Tensor, v: Tensor, *, window: int = 512) -> tuple[Tensor, dict[str, Tensor]]:
    """The same, with the window as a mask."""
    seen = torch.ones(q.shape[1], q.shape[1], dtype=torch.bool).tril().triu(1 - window)
    read = nn.functional.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (q, k, v)), seen)
    return read.transpose(1, 2), {"k": k[:, 1 - window :], "v": v[:, 1 - window :]}


def _by_halves(query: Tensor, key: Tensor, decay: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(copies, chunks, n, size) -> overlaps (copies, chunks, n, n), queries from the start, keys to the end, all decays."""
    query, key, decay = (x.unsqueeze(3) for x in (query, key, decay))
    overlap = query.new_zeros(1).expand(*query.shape[:3], 1, 1)
    while query.shape[2] > 1:
        pairs = (torch.unflatten(x, 2, (-1, 2)).unbind(3) for x in (query, key, decay, overlap))
        (first, late), (early, last), (left, right), (above, below) = pairs
        rows = torch.nn.functional.pad(above, (0, above.shape[-1])), torch.cat((late @ early.mT, below), -1)
        query, key, decay = torch.cat((first, left * late), 3), torch.cat((right * early, last), 3), left * right
        overlap = torch.cat(rows, -2)
    return overlap.squeeze(2), query.squeeze(2), key.squeeze(2), decay.squeeze(2)


def decay_products(decay: Tensor) -> Tensor:
    """(copies, n, 1) -> (copies, n, n): entry [t, s] is decay_{s+1} ... decay_t, 0 for s > t.

    x_t = decay_t x_{t-1} + e_t is a bidiagonal system; its solution is made of products alone, so a decay of 0 is exact.
    """
    identity = torch.eye(decay.shape[1], dtype=decay.dtype, device=decay.device)
    return _solve(torch.nn.functional.pad(-decay[:, 1:] * identity[:-1], (0, 0, 1, 0)), identity)


def _solve(below_diagonal: Tensor, right: Tensor) -> Tensor:
    """x with x_t = right_t - sum of below_diagonal[t, s] x_s over s < t."""
    solution: Tensor = torch.linalg.solve_triangular(below_diagonal, right, upper=False, unitriangular=True)
    return solution


def _initial(q: Tensor, v: Tensor, state: Tensor | None) -> tuple[Tensor, tuple[int, int]]:
    """The state (batch * heads, d_v, d_k) to start from, and (batch, heads)."""
    batch, _, heads, d_k = q.shape
    memory = q.new_zeros(batch * heads, v.shape[-1], d_k) if state is None else state.flatten(0, 1)
    return memory, (batch, heads)


def _pieces(x: Tensor, chunk: int) -> tuple[Tensor, ...]:
    """(batch, time, heads, size) -> chunks of (batch * heads, tokens, size), the last one short."""
    return torch.split(x.transpose(1, 2).flatten(0, 1), chunk, 1)


def _joined(outputs: list[Tensor], leading: tuple[int, int]) -> Tensor:
    """Chunks of (batch * heads, tokens, size) -> (batch, time, heads, size)."""
    whole = torch.cat(outputs, 1)
    return whole.view(*leading, *whole.shape[1:]).transpose(1, 2)
