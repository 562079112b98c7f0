"""SelfModifyingTitans, compiled from its description.

Self-modifying Titans with matrices: memories give the keys, the values, the rate and the retention by which all of them learn, each from a
trained start, and each is fitted to a value that it generates itself.

Compiled by nlc from specs/architectures/self_modifying_titans.yaml. Edit the spec, not this file.
sha256 of the spec: e834e8791d502e8ca361f75d81ecc7c2c2a45b7b70a5b2a20bbc6fd1d60a4cd3

Levels, fastest first (Nested Learning, Definition 2)
    rank  components                                                         every  paper's number (slowest highest / slowest first)
    0     keep_map, key_map, memory, rate_map, value_map                     token  1 / 2
    1     keep_map.start, kernel_in, kernel_q, key_map.start, memory.start,  step   2 / 1
          project_in, project_out, project_q, rate_map.start,
          value_map.start

Timetable
    every token  keep_map, key_map, memory, rate_map, value_map
    every step   keep_map.start, kernel_in, kernel_q, key_map.start, memory.start,
                 project_in, project_out, project_q, rate_map.start,
                 value_map.start

Laws, per token; prev is the state before
    source             = split(convolve(project_in @ x, kernel_in), heads)              abbreviation
    q                  = l2_normalise(split(convolve(project_q @ x, kernel_q), heads))  abbreviation
    k                  = l2_normalise(prev(key_map.held_16) @ source)                   abbreviation
    prediction         = prev(keep_map) @ k                                             read at the key
    v                  = prev(value_map.held_16) @ source                               abbreviation
    surprise           = prev(keep_map.held_16) @ (k - v) + erase * prediction
                         objective dot(keep_map @ k, stop_gradient(hold(keep_map, 16 tokens) @ (k - v))) + 0.5 * (erase * norm2(keep_map @
                         k)), by the prediction; calculus
    gradient           = outer(surprise, k)                                             adjoint of apply; calculus
    rate               = largest_rate * sigmoid(sum(prev(rate_map.held_16) @ source))   abbreviation
    retention          = sigmoid(retained + sum(prev(keep_map.held_16) @ source))       abbreviation
    keep_map           = retention * prev(keep_map) - rate * gradient                   explicit gradient step; nl:eq-83; nl:eq-88; nl:eq-93
    y                  = project_out @ join(prev(memory) @ q / sqrt(norm2(prev(memory) @ q) / (d_model / heads) + 0.000001), heads)
                         read before the write
    key_map.held_16    = where(due(16 tokens), key_map, prev(key_map.held_16))          kept: read by hold(key_map, 16 tokens)
    recent.project_in  = recent(project_in @ x) and project_in @ x
                         kept: the last values of project_in @ x, for delays and convolutions
    recent.project_q   = recent(project_q @ x) and project_q @ x
                         kept: the last values of project_q @ x, for delays and convolutions
    position           = prev(position) + 1                                             kept: the tokens so far
    as keep_map, each with its own state: key_map, memory, rate_map, value_map
    as key_map.held_16, each with its own state: value_map.held_16, rate_map.held_16, keep_map.held_16, memory.held_16

Forms
    keep_map, key_map, memory, rate_map, value_map: triangular chunks (deltanet, gated-deltanet)
        The old state is kept times sigmoid(retained + sum(prev(keep_map.held_16) @ split(convolve(project_in @ x, kernel_in), heads))),
        and the writes read it at l2_normalise(prev(key_map.held_16) @ split(convolve(project_in @ x, kernel_in), heads)) alone
        (ScalarMinusLowRank).
        Writes read the old state through vectors alone, so those of a chunk solve one triangular system; the rest is matrix products.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["SelfModifyingTitans"]


class SelfModifyingTitans(nn.Module):
    """SelfModifyingTitans, a memory over a sequence.

    Self-modifying Titans with matrices: memories give the keys, the values, the rate and the retention by which all of them learn,
    each from a trained start, and each is fitted to a value that it generates itself.

    Inputs, by keyword, in any float dtype:
        x  (batch, time, d_model)
    State, kept in float32 or wider (a dict by name; None starts from the initial state):
        key_map, value_map, memory, key_map.held_16, value_map.held_16, memory.held_16  (batch, heads, d_model / heads, d_model / heads)
        rate_map, keep_map, rate_map.held_16, keep_map.held_16  (batch, heads, 1, d_model / heads)
        recent.project_in, recent.project_q  (batch, width - 1, d_model)
        position  (), int64: how many tokens came before
    Returns the outputs (the tensor itself) and the state after the last token:
        y  (batch, time, d_model)
    `chunk`, in tokens, is about speed alone; under torch.compile every new length compiles anew.
    The sequence runs in blocks of 16 tokens, counted from the position of the state that is handed in.
    `nonfinite` says what to do at a token with numbers that are not finite: "raise" or "propagate" (no "skip": tokens are counted or kept).
    `checkpoint`, in tokens: the backward keeps the states between pieces of so many tokens, and computes the rest anew.
    """

    def __init__(
        self,
        d_model: int = 256,
        heads: int = 4,
        width: int = 4,
        largest_rate: float = 0.5,
        retained: float = 4.0,
        erase: float = 1.0,
        chunk: int = 16,
        nonfinite: str = "propagate",
        checkpoint: int | None = None,
    ) -> None:
        super().__init__()
        if chunk < 1:
            raise ValueError(f"chunk must be 1 or more, not {chunk}")
        self.chunk = chunk
        if nonfinite not in ("raise", "propagate"):
            raise ValueError(f'nonfinite must be "raise" or "propagate", not {nonfinite!r}')
        if checkpoint is not None and checkpoint < 1:
            raise ValueError(f"checkpoint must be None, or 1 token or more, not {checkpoint}")
        self.nonfinite = nonfinite
        self.checkpoint = checkpoint
        self.d_model = d_model
        self.heads = heads
        self.width = width
        self.largest_rate = largest_rate
        self.retained = retained
        self.erase = erase
        if d_model % heads:
            raise ValueError(f"d_head = d_model / heads must be a whole number, not {d_model} / {heads}")
        self.d_head = d_model // heads
        self.project_q = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_in = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_out = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.kernel_q = nn.Parameter(torch.empty(self.width, self.d_model))
        self.kernel_in = nn.Parameter(torch.empty(self.width, self.d_model))
        self.key_map_start = nn.Parameter(torch.empty(self.d_head, self.d_head))
        self.value_map_start = nn.Parameter(torch.empty(self.d_head, self.d_head))
        self.rate_map_start = nn.Parameter(torch.empty(1, self.d_head))
        self.keep_map_start = nn.Parameter(torch.empty(1, self.d_head))
        self.memory_start = nn.Parameter(torch.empty(self.d_head, self.d_head))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The slow levels as training finds them."""
        for weight in (self.project_q, self.project_in, self.project_out):
            nn.init.uniform_(weight, -(self.d_model**-0.5), self.d_model**-0.5)
        nn.init.uniform_(self.kernel_q, -(self.width**-0.5), self.width**-0.5)
        nn.init.uniform_(self.kernel_in, -(self.width**-0.5), self.width**-0.5)
        for weight in (self.key_map_start, self.value_map_start, self.rate_map_start, self.keep_map_start, self.memory_start):
            nn.init.uniform_(weight, -(self.d_head**-0.5), self.d_head**-0.5)

    def initial_state(self, batch: int, heads: int, *, like: Tensor) -> dict[str, Tensor]:
        """The start on the device of `like`, in its dtype or float32, whichever is wider."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        starts = {
            "key_map": self.key_map_start.to(dtype).expand(batch, heads, self.d_head, self.d_head),
            "value_map": self.value_map_start.to(dtype).expand(batch, heads, self.d_head, self.d_head),
            "rate_map": self.rate_map_start.to(dtype).expand(batch, heads, 1, self.d_head),
            "keep_map": self.keep_map_start.to(dtype).expand(batch, heads, 1, self.d_head),
            "memory": self.memory_start.to(dtype).expand(batch, heads, self.d_head, self.d_head),
        }
        held = {f"{name}.held_16": start for name, start in starts.items()}
        others = {
            "recent.project_in": like.new_zeros(batch, self.width - 1, self.d_model, dtype=dtype),
            "recent.project_q": like.new_zeros(batch, self.width - 1, self.d_model, dtype=dtype),
            "position": like.new_zeros((), dtype=torch.int64),
        }
        return starts | held | others

    def forward(self, *, x: Tensor, state: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """The whole sequence in blocks, which end where a period may: equal to `forward_by_token`."""
        if self.checkpoint is not None or self.nonfinite != "propagate":
            return _managed(self, {"x": x}, state)
        batch = x.shape[0]
        heads = self.heads
        with _full_precision(x):
            dtype = x.dtype
            before = 0 if state is None or state["position"].is_meta else int(state["position"])
            state = self._start(state, batch, heads, x)
            x = x.to(state["key_map"].dtype)
            wide = state["key_map"].dtype
            project_q, project_in, project_out = (weight.to(wide) for weight in (self.project_q, self.project_in, self.project_out))
            kernel_q, kernel_in = (weight.to(wide) for weight in (self.kernel_q, self.kernel_in))
            recent_project_in = torch.cat((state["recent.project_in"], x @ project_in.mT), 1)
            recent_project_q = torch.cat((state["recent.project_q"], x @ project_q.mT), 1)
            source = torch.unflatten(_convolved(recent_project_in, kernel_in), -1, (self.heads, -1))
            q = torch.nn.functional.normalize(torch.unflatten(_convolved(recent_project_q, kernel_q), -1, (self.heads, -1)), dim=-1)
            streams = (source, q)
            lengths = _block_lengths(before, 16, x.shape[1])
            blocks = zip(*(torch.split(x.movedim(1, 2).flatten(0, 1), lengths, 1) for x in streams), strict=True)
            moved = {
                name: x.flatten(0, 1) for name, x in state.items() if name not in {"recent.project_in", "recent.project_q", "position"}
            }
            y_inside_in_blocks = [x.new_empty(batch * heads, 0, self.d_head)]
            for given in blocks:
                y_inside, moved = self._block(*given, state=moved, before=before)
                before = before + given[0].shape[1]
                y_inside_in_blocks.append(y_inside)
            y_inside = torch.unflatten(torch.cat(y_inside_in_blocks, 1), 0, (batch, heads)).movedim(2, 1)
            y = y_inside.flatten(-2) @ project_out.mT
            last = {
                "position": state["position"] + x.shape[1],
                "recent.project_in": recent_project_in[:, x.shape[1] :],
                "recent.project_q": recent_project_q[:, x.shape[1] :],
            }
            state = {name: torch.unflatten(x, 0, (batch, heads)) for name, x in moved.items()} | last
            return y.to(dtype), state

    def _block(self, source: Tensor, q: Tensor, *, state: dict[str, Tensor], before: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The tokens up to where a period may end: what moves every so many tokens moves after them, if it does."""
        position = before + source.shape[1]
        due = position % 16 == 0
        v = source @ state["value_map.held_16"].mT
        rate = self.largest_rate * (source @ state["rate_map.held_16"].mT).sum(-1).sigmoid()
        retention = (self.retained + (source @ state["keep_map.held_16"].mT).sum(-1)).sigmoid()
        k = torch.nn.functional.normalize(source @ state["key_map.held_16"].mT, dim=-1)
        keep_map_value = -rate[..., None] * ((k - v) @ state["keep_map.held_16"].mT)
        key_map_value = -rate[..., None] * ((k - v) @ state["key_map.held_16"].mT)
        rate_map_value = -rate[..., None] * ((k - v) @ state["rate_map.held_16"].mT)
        value_map_value = -rate[..., None] * ((k - v) @ state["value_map.held_16"].mT)
        value = -rate[..., None] * ((k - v) @ state["memory.held_16"].mT)
        memory_read, rows = self._memory_in_chunks(
            decay=retention[..., None],
            key=k,
            value=torch.cat((keep_map_value, key_map_value, rate_map_value, value_map_value, value), -1),
            erase=(rate * self.erase)[..., None] * k,
            query=q,
            memory=torch.cat((state["keep_map"], state["key_map"], state["rate_map"], state["value_map"], state["memory"]), 1),
        )
        keep_map, key_map, rate_map, value_map, memory = torch.split(rows, [1, self.d_head, 1, self.d_head, self.d_head], 1)
        y_inside = torch.nn.functional.rms_norm(memory_read, (self.d_head,), eps=1e-06)
        moved = {"key_map": key_map, "value_map": value_map, "rate_map": rate_map, "keep_map": keep_map, "memory": memory}
        held = {f"{name}.held_16": new if due else state[f"{name}.held_16"] for name, new in moved.items()}
        return y_inside, moved | held

    def _memory_in_chunks(
        self, decay: Tensor, key: Tensor, value: Tensor, erase: Tensor, query: Tensor, memory: Tensor
    ) -> tuple[Tensor, Tensor]:
        """memory_t = decay_t memory_{t-1} + write_t key_t^T with write_t = value_t - memory_{t-1} erase_t, chunk by chunk.

        Streams are (copies, tokens, size), a scalar one with size 1.
        The last rows of memory and value are those of memory, above them are those of keep_map, key_map, rate_map, value_map.
        Inside a chunk the writes read one another:
            write_t + sum over s < t of decays (erase_t . key_s) write_s = value_t - decays memory erase_t
        """
        chunks = zip(*(_pieces(x, self.chunk) for x in (decay, key, value, erase, query)), strict=True)
        reads = []
        for decay, key, value, erase, query in chunks:
            products = _decay_products(decay)
            kept_before, before = products[:, :-1, :1], products[:, :-1, 1:]
            overlap = before * (erase @ key.mT)
            write = _solve(overlap, torch.baddbmm(value, kept_before * erase, memory.mT, alpha=-1))
            read = (kept_before * query) @ memory[:, -self.d_head :].mT
            attention = before * (query @ key.mT).tril(-1)
            read = torch.baddbmm(read, attention, write[..., -self.d_head :])
            reads.append(read)
            memory = products[:, -1:, :1] * memory
            memory = torch.baddbmm(memory, write.mT, products[:, -1, 1:, None] * key)
        return _joined(reads), memory

    def forward_by_token(self, *, x: Tensor, state: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """The laws, one token at a time: slow, and what `forward` must equal."""
        batch = x.shape[0]
        heads = self.heads
        state = self._start(state, batch, heads, x)
        outputs = [x.new_empty(batch, 0, self.d_model)]
        for t in range(x.shape[1]):
            y, state = self.step(x=x[:, t], state=state)
            outputs.append(y.unsqueeze(1))
        return torch.cat(outputs, 1), state

    def step(self, *, x: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """One token, for decoding: the laws as they stand; inputs without their time dim."""
        with _full_precision(x):
            dtype = x.dtype
            x = x.to(state["key_map"].dtype)
            wide = state["key_map"].dtype
            project_q, project_in, project_out = (weight.to(wide) for weight in (self.project_q, self.project_in, self.project_out))
            kernel_q, kernel_in = (weight.to(wide) for weight in (self.kernel_q, self.kernel_in))
            position = state["position"] + 1
            due = position % 16 == 0
            recent_project_in = torch.cat((state["recent.project_in"], (x @ project_in.mT).unsqueeze(-2)), -2)
            recent_project_q = torch.cat((state["recent.project_q"], (x @ project_q.mT).unsqueeze(-2)), -2)
            source = torch.unflatten((recent_project_in * kernel_in.flip(0)).sum(-2), -1, (self.heads, -1))
            q = torch.nn.functional.normalize(torch.unflatten((recent_project_q * kernel_q.flip(0)).sum(-2), -1, (self.heads, -1)), dim=-1)
            k = torch.nn.functional.normalize((state["key_map.held_16"] @ source[..., None]).squeeze(-1), dim=-1)
            prediction = (state["keep_map"] @ k[..., None]).squeeze(-1)
            v = (state["value_map.held_16"] @ source[..., None]).squeeze(-1)
            surprise = (state["keep_map.held_16"] @ (k - v)[..., None]).squeeze(-1) + self.erase * prediction
            gradient = surprise[..., None] * k[..., None, :]
            rate = self.largest_rate * (state["rate_map.held_16"] @ source[..., None]).squeeze(-1).sum(-1).sigmoid()
            retention = (self.retained + (state["keep_map.held_16"] @ source[..., None]).squeeze(-1).sum(-1)).sigmoid()
            keep_map = retention[..., None, None] * state["keep_map"] - rate[..., None, None] * gradient
            key_map_prediction = (state["key_map"] @ k[..., None]).squeeze(-1)
            key_map_surprise = (state["key_map.held_16"] @ (k - v)[..., None]).squeeze(-1) + self.erase * key_map_prediction
            key_map_gradient = key_map_surprise[..., None] * k[..., None, :]
            key_map = retention[..., None, None] * state["key_map"] - rate[..., None, None] * key_map_gradient
            memory_prediction = (state["memory"] @ k[..., None]).squeeze(-1)
            memory_surprise = (state["memory.held_16"] @ (k - v)[..., None]).squeeze(-1) + self.erase * memory_prediction
            memory_gradient = memory_surprise[..., None] * k[..., None, :]
            memory = retention[..., None, None] * state["memory"] - rate[..., None, None] * memory_gradient
            rate_map_prediction = (state["rate_map"] @ k[..., None]).squeeze(-1)
            rate_map_surprise = (state["rate_map.held_16"] @ (k - v)[..., None]).squeeze(-1) + self.erase * rate_map_prediction
            rate_map_gradient = rate_map_surprise[..., None] * k[..., None, :]
            rate_map = retention[..., None, None] * state["rate_map"] - rate[..., None, None] * rate_map_gradient
            value_map_prediction = (state["value_map"] @ k[..., None]).squeeze(-1)
            value_map_surprise = (state["value_map.held_16"] @ (k - v)[..., None]).squeeze(-1) + self.erase * value_map_prediction
            value_map_gradient = value_map_surprise[..., None] * k[..., None, :]
            value_map = retention[..., None, None] * state["value_map"] - rate[..., None, None] * value_map_gradient
            memory_read = (state["memory"] @ q[..., None]).squeeze(-1)
            y = torch.nn.functional.rms_norm(memory_read, (self.d_head,), eps=1e-06).flatten(-2) @ project_out.mT
            moved = {"key_map": key_map, "value_map": value_map, "rate_map": rate_map, "keep_map": keep_map, "memory": memory}
            held = {f"{name}.held_16": torch.where(due, new, state[f"{name}.held_16"]) for name, new in moved.items()}
            last = {
                "recent.project_in": recent_project_in[..., 1:, :],
                "recent.project_q": recent_project_q[..., 1:, :],
                "position": position,
            }
            return y.to(dtype), moved | held | last

    def _start(self, state: dict[str, Tensor] | None, batch: int, heads: int, like: Tensor) -> dict[str, Tensor]:
        """The state to start from, never narrower than zeros would be."""
        zeros = self.initial_state(batch, heads, like=like)
        if state is None:
            return zeros
        return {name: state[name].to(torch.promote_types(state[name].dtype, zero.dtype)) for name, zero in zeros.items()}


def _full_precision(x: Tensor) -> torch.autocast:
    """No autocast inside: the state keeps its precision."""
    return torch.autocast("cpu" if x.is_meta else x.device.type, enabled=False)


def _pieces(x: Tensor, chunk: int) -> tuple[Tensor, ...]:
    """(copies, tokens, size) -> chunks of tokens, the last one short: nothing is padded, and what is short is one chunk."""
    return torch.split(x, chunk, 1) if x.shape[1] > chunk else (x,)


def _joined(pieces: list[Tensor]) -> Tensor:
    """Chunks of (copies, tokens, size) -> all tokens."""
    return torch.cat(pieces, 1) if len(pieces) > 1 else pieces[0]


def _convolved(x: Tensor, kernel: Tensor) -> Tensor:
    """(batch, width - 1 + time, *axes, size) -> (batch, time, *axes, size): row j of the kernel times the value j tokens before."""
    width = kernel.shape[0]
    total = kernel[0] * x[:, width - 1 :]
    for tokens in range(1, width):
        total = total + kernel[tokens] * x[:, width - 1 - tokens : -tokens]
    return total


def _decay_products(decay: Tensor) -> Tensor:
    """(copies, n, 1) -> (copies, n + 1, n + 1): entry [t, s] is decay_{s+1} ... decay_t, row and column 0 the start of the chunk.

    It solves x_t = decay_t x_{t-1} + e_t, a bidiagonal system, by products alone: a decay of 0 is exact, in values and gradients.
    """
    identity = torch.eye(decay.shape[1] + 1, dtype=decay.dtype, device=decay.device)
    return _solve(nn.functional.pad(-decay * identity[:-1], (0, 0, 1, 0)), identity)


def _solve(below_diagonal: Tensor, right: Tensor) -> Tensor:
    """x with x_t = right_t - sum of below_diagonal[t, s] x_s over s < t; nothing else of the matrix is read."""
    solution: Tensor = torch.linalg.solve_triangular(below_diagonal, right, upper=False, unitriangular=True)
    return solution


def _block_lengths(before: int, tokens: int, time: int) -> list[int]:
    """The lengths of blocks that end at every multiple of `tokens`, counted from the start of the stream, and with the sequence."""
    ends = [*range(tokens - before % tokens, time, tokens), time]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)] if time else []


def _managed(module: Any, streams: dict[str, Tensor], state: dict[str, Tensor] | None) -> tuple[Tensor, dict[str, Tensor]]:
    """`forward` in pieces that the backward computes anew, and watched for what is not finite, as the module was made."""
    plain = copy.copy(module)
    plain.nonfinite, plain.checkpoint = "propagate", None
    outputs, last = _in_pieces(plain, streams, state, module.checkpoint) if module.checkpoint else plain.forward(**streams, state=state)
    if module.nonfinite == "propagate" or all(bool(x.isfinite().all()) for x in (*streams.values(), outputs, *last.values())):
        return outputs, last
    return _watched(plain, streams, state, module.nonfinite)


def _in_pieces(module: Any, streams: dict[str, Tensor], state: dict[str, Tensor] | None, tokens: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Pieces of so many tokens: of each, the backward finds the streams and the state before it, and computes the rest anew."""
    names, pieces, (_, last) = tuple(streams), [], module.forward(**{name: x[:, :0] for name, x in streams.items()}, state=state)
    for piece in zip(*(torch.split(x, tokens, 1) for x in streams.values()), strict=True):
        outputs, last = checkpoint(
            lambda *x, state: module.forward(**dict(zip(names, x, strict=True)), state=state),
            *piece,
            state=last,
            use_reentrant=False,
            preserve_rng_state=False,
        )
        pieces.append(outputs)
    return torch.cat(pieces, 1), last


def _watched(module: Any, streams: dict[str, Tensor], state: dict[str, Tensor] | None, policy: str) -> tuple[Tensor, dict[str, Tensor]]:
    """Token by token: one by which something is not finite stops the sequence."""
    pieces, (_, last) = [], module.forward(**{name: x[:, :0] for name, x in streams.items()}, state=state)
    for t in range(streams["x"].shape[1]):
        token = {name: x[:, t : t + 1] for name, x in streams.items()}
        with torch.no_grad():
            outputs, after = module.forward(**token, state=last)
        seen = {**token, "y": outputs, **after}
        rows = {name: ~x.reshape(len(x), -1).isfinite().all(1) for name, x in seen.items() if x.dim()}
        lost = torch.stack(list(rows.values())).any(0)
        if policy == "raise" and bool(lost.any()):
            names = ", ".join(name for name, row in rows.items() if bool(row.any()))
            raise FloatingPointError(f"not finite at token {t}, row {int(lost.nonzero()[0])} of the batch: {names}")
        outputs, last = module.forward(**token, state=last)
        pieces.append(outputs)
    return torch.cat(pieces, 1), last


# sealed by nlc, sha256 of everything above: 2e50de56a2dd36070eaa992916a78dbb3cde61816d93a10301777ae819caef2d
