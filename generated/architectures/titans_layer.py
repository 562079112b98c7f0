"""TitansLayer, compiled from its description.

A network as memory between trained projections, from a trained start, fitted at test time with momentum and forgetting; the token decides
on all three rates, of which retention begins near one, and the gradients are taken at the start of each period.

Compiled by nlc from specs/architectures/titans_layer.yaml. Edit the spec, not this file.
sha256 of the spec: 0fcfd60fbc802cc993d19f31cf8349569f79583ed4f2f7d24fda84566a4eff9a

Levels, fastest first (Nested Learning, Definition 2)
    rank  components                                                          every  paper's number (slowest highest / slowest first)
    0     memory.momentum                                                     token  1 / 3
    1     memory                                                              token  2 / 2
    2     memory.start, project_decay, project_gate, project_k, project_out,  step   3 / 1
          project_q, project_rate, project_retention, project_v

Timetable
    every token  memory.momentum, memory
    every step   memory.start, project_decay, project_gate, project_k, project_out,
                 project_q, project_rate, project_retention, project_v

Laws, per token; prev is the state before
    v                  = silu(split(project_v @ x, heads))                                     abbreviation
    gate               = sigmoid(split(project_gate @ x, heads))                               abbreviation
    inner_decay        = sigmoid(split(project_decay @ x, heads))                              abbreviation
    rate               = largest_rate * sigmoid(split(project_rate @ x, heads))                abbreviation
    retention          = sigmoid(retained + split(project_retention @ x, heads))               abbreviation
    q                  = l2_normalise(silu(split(project_q @ x, heads)))                       abbreviation
    k                  = l2_normalise(silu(split(project_k @ x, heads)))                       abbreviation
    layer              = prev(memory.W1.held_64) @ k                                           into gelu
    activation         = gelu(layer)                                                           out of gelu
    prediction         = prev(memory.W2.held_64) @ activation                                  read at the key
    error              = prediction - v
                         objective 0.5 * norm2(memory.W2 @ gelu(memory.W1 @ k) - v)
    slope              = normal_cdf(layer) + layer * normal_density(layer)                     derivative of gelu
    local_surprise     = transpose(prev(memory.W2.held_64)) @ error * slope                    gradient by layer; calculus
    gradient_W1        = outer(local_surprise, k)                                              adjoint of apply; calculus
    gradient_W2        = outer(error, activation)                                              adjoint of apply; calculus
    momentum_rate      = rate                                                                  learning rate
    momentum.W1        = inner_decay * prev(memory.momentum.W1) - momentum_rate * gradient_W1  explicit gradient step; titans
    momentum.W2        = inner_decay * prev(memory.momentum.W2) - momentum_rate * gradient_W2  explicit gradient step; titans
    memory.W1          = retention * prev(memory.W1) + memory.momentum.W1
                         explicit gradient step on -dot(memory.W1, memory.momentum.W1) - dot(memory.W2, memory.momentum.W2); titans
    memory.W2          = retention * prev(memory.W2) + memory.momentum.W2
                         explicit gradient step on -dot(memory.W1, memory.momentum.W1) - dot(memory.W2, memory.momentum.W2); titans
    y                  = project_out @ join(memory.W2 @ gelu(memory.W1 @ q) / sqrt(norm2(memory.W2 @ gelu(memory.W1 @ q)) / (d_model /
                         heads) + 0.000001) * gate, heads)
                         read after the write
    memory.W1.held_64  = where(due(64 tokens), memory.W1, prev(memory.W1.held_64))             kept: read by hold(memory, 64 tokens)
    memory.W2.held_64  = where(due(64 tokens), memory.W2, prev(memory.W2.held_64))             kept: read by hold(memory, 64 tokens)
    position           = prev(position) + 1                                                    kept: the tokens so far

Form
    memory.momentum and memory: dual form (ttt, titans)
        The states of memory.momentum and memory move as one, by gradients at a held state, which are told layer by layer (Dense).
        The gradients of a block are taken at one state, so its weights are sums of them, and reads are products of matrices.
"""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["TitansLayer"]


class TitansLayer(nn.Module):
    """TitansLayer, a memory over a sequence.

    A network as memory between trained projections, from a trained start, fitted at test time with momentum and forgetting; the
    token decides on all three rates, of which retention begins near one, and the gradients are taken at the start of each period.

    Inputs, by keyword, in any float dtype:
        x  (batch, time, d_model)
    State, kept in float32 or wider (a dict by name; None starts from the initial state):
        memory.momentum.W1, memory.W1, memory.W1.held_64  (batch, heads, 4 * d_model / heads, d_model / heads)
        memory.momentum.W2, memory.W2, memory.W2.held_64  (batch, heads, d_model / heads, 4 * d_model / heads)
        position  (), int64: how many tokens came before
    Returns the outputs (the tensor itself) and the state after the last token:
        y  (batch, time, d_model)
    Under torch.compile every new length compiles anew.
    The sequence runs in blocks of 64 tokens, counted from the position of the state that is handed in.
    `nonfinite` says what to do at a token with numbers that are not finite: "raise" or "propagate" (no "skip": tokens are counted or kept).
    `checkpoint`, in tokens: the backward keeps the states between pieces of so many tokens, and computes the rest anew.
    """

    def __init__(
        self,
        d_model: int = 256,
        heads: int = 4,
        largest_rate: float = 0.1,
        retained: float = 4.0,
        nonfinite: str = "propagate",
        checkpoint: int | None = None,
    ) -> None:
        super().__init__()
        if nonfinite not in ("raise", "propagate"):
            raise ValueError(f'nonfinite must be "raise" or "propagate", not {nonfinite!r}')
        if checkpoint is not None and checkpoint < 1:
            raise ValueError(f"checkpoint must be None, or 1 token or more, not {checkpoint}")
        self.nonfinite = nonfinite
        self.checkpoint = checkpoint
        self.d_model = d_model
        self.heads = heads
        self.largest_rate = largest_rate
        self.retained = retained
        if d_model % heads:
            raise ValueError(f"d_head = d_model / heads must be a whole number, not {d_model} / {heads}")
        self.d_head = d_model // heads
        self.project_q = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_k = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_v = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_gate = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_out = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_rate = nn.Parameter(torch.empty(self.heads, self.d_model))
        self.project_decay = nn.Parameter(torch.empty(self.heads, self.d_model))
        self.project_retention = nn.Parameter(torch.empty(self.heads, self.d_model))
        self.memory_start_W1 = nn.Parameter(torch.empty(4 * self.d_head, self.d_head))
        self.memory_start_W2 = nn.Parameter(torch.empty(self.d_head, 4 * self.d_head))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The slow levels as training finds them."""
        for weight in (
            self.project_q,
            self.project_k,
            self.project_v,
            self.project_gate,
            self.project_out,
            self.project_rate,
            self.project_decay,
            self.project_retention,
        ):
            nn.init.uniform_(weight, -(self.d_model**-0.5), self.d_model**-0.5)
        nn.init.uniform_(self.memory_start_W1, -(self.d_head**-0.5), self.d_head**-0.5)
        nn.init.uniform_(self.memory_start_W2, -((4 * self.d_head) ** -0.5), (4 * self.d_head) ** -0.5)

    def initial_state(self, batch: int, heads: int, *, like: Tensor) -> dict[str, Tensor]:
        """The start on the device of `like`, in its dtype or float32, whichever is wider."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        return {
            "memory.momentum.W1": like.new_zeros(batch, heads, 4 * self.d_head, self.d_head, dtype=dtype),
            "memory.momentum.W2": like.new_zeros(batch, heads, self.d_head, 4 * self.d_head, dtype=dtype),
            "memory.W1": self.memory_start_W1.to(dtype).expand(batch, heads, 4 * self.d_head, self.d_head),
            "memory.W2": self.memory_start_W2.to(dtype).expand(batch, heads, self.d_head, 4 * self.d_head),
            "memory.W1.held_64": self.memory_start_W1.to(dtype).expand(batch, heads, 4 * self.d_head, self.d_head),
            "memory.W2.held_64": self.memory_start_W2.to(dtype).expand(batch, heads, self.d_head, 4 * self.d_head),
            "position": like.new_zeros((), dtype=torch.int64),
        }

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
            x = x.to(state["memory.momentum.W1"].dtype)
            wide = state["memory.momentum.W1"].dtype
            project_q, project_k, project_v = (weight.to(wide) for weight in (self.project_q, self.project_k, self.project_v))
            project_gate, project_out = (weight.to(wide) for weight in (self.project_gate, self.project_out))
            project_rate, project_decay = (weight.to(wide) for weight in (self.project_rate, self.project_decay))
            project_retention = self.project_retention.to(wide)
            v = torch.nn.functional.silu(torch.unflatten(x @ project_v.mT, -1, (self.heads, -1)))
            gate = torch.unflatten(x @ project_gate.mT, -1, (self.heads, -1)).sigmoid()
            inner_decay = (x @ project_decay.mT).sigmoid()
            rate = self.largest_rate * (x @ project_rate.mT).sigmoid()
            retention = (self.retained + x @ project_retention.mT).sigmoid()
            q = torch.nn.functional.normalize(torch.nn.functional.silu(torch.unflatten(x @ project_q.mT, -1, (self.heads, -1))), dim=-1)
            k = torch.nn.functional.normalize(torch.nn.functional.silu(torch.unflatten(x @ project_k.mT, -1, (self.heads, -1))), dim=-1)
            streams = (q, inner_decay, retention, k, v, rate, gate)
            lengths = _block_lengths(before, 64, x.shape[1])
            blocks = zip(*(torch.split(x.movedim(1, 2).flatten(0, 1), lengths, 1) for x in streams), strict=True)
            moved = {name: x.flatten(0, 1) for name, x in state.items() if name != "position"}
            y_inside_in_blocks = [x.new_empty(batch * heads, 0, self.d_head)]
            for given in blocks:
                y_inside, moved = self._block(*given, state=moved, before=before)
                before = before + given[0].shape[1]
                y_inside_in_blocks.append(y_inside)
            y_inside = torch.unflatten(torch.cat(y_inside_in_blocks, 1), 0, (batch, heads)).movedim(2, 1)
            y = y_inside.flatten(-2) @ project_out.mT
            last = {"position": state["position"] + x.shape[1]}
            state = {name: torch.unflatten(x, 0, (batch, heads)) for name, x in moved.items()} | last
            return y.to(dtype), state

    def _block(
        self,
        q: Tensor,
        inner_decay: Tensor,
        retention: Tensor,
        k: Tensor,
        v: Tensor,
        rate: Tensor,
        gate: Tensor,
        *,
        state: dict[str, Tensor],
        before: int,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The tokens up to where a period may end: what moves every so many tokens moves after them, if it does."""
        position = before + q.shape[1]
        due = position % 64 == 0
        layer = k @ state["memory.W1.held_64"].mT
        activation = torch.nn.functional.gelu(layer)
        prediction = activation @ state["memory.W2.held_64"].mT
        error = prediction - v
        slope = torch.special.ndtr(layer) + layer * (torch.exp(-layer.square() / 2) / math.sqrt(2 * math.pi))
        local_surprise = error @ state["memory.W2.held_64"] * slope
        momentum_kept = _kept(inner_decay)
        memory_kept = _kept(retention)
        memory_of_momentum = memory_kept[..., 1:] @ momentum_kept[..., 1:, :]
        W1_write = -rate[..., None] * local_surprise
        W2_write = -rate[..., None] * error
        memory_read = _read_matrix(
            q, [(memory_kept, state["memory.W1"]), (memory_of_momentum, state["memory.momentum.W1"])], [(memory_of_momentum, k, W1_write)]
        )
        memory_read_2 = _read_matrix(
            torch.nn.functional.gelu(memory_read),
            [(memory_kept, state["memory.W2"]), (memory_of_momentum, state["memory.momentum.W2"])],
            [(memory_of_momentum, activation, W2_write)],
        )
        momentum_W1 = _moved_matrix([(momentum_kept, state["memory.momentum.W1"])], [(momentum_kept, k, W1_write)])
        momentum_W2 = _moved_matrix([(momentum_kept, state["memory.momentum.W2"])], [(momentum_kept, activation, W2_write)])
        memory_W1 = _moved_matrix(
            [(memory_kept, state["memory.W1"]), (memory_of_momentum, state["memory.momentum.W1"])], [(memory_of_momentum, k, W1_write)]
        )
        memory_W2 = _moved_matrix(
            [(memory_kept, state["memory.W2"]), (memory_of_momentum, state["memory.momentum.W2"])],
            [(memory_of_momentum, activation, W2_write)],
        )
        y_inside = torch.nn.functional.rms_norm(memory_read_2, (self.d_head,), eps=1e-06) * gate
        state = {
            "memory.momentum.W1": momentum_W1,
            "memory.momentum.W2": momentum_W2,
            "memory.W1": memory_W1,
            "memory.W2": memory_W2,
            "memory.W1.held_64": memory_W1 if due else state["memory.W1.held_64"],
            "memory.W2.held_64": memory_W2 if due else state["memory.W2.held_64"],
        }
        return y_inside, state

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
            x = x.to(state["memory.momentum.W1"].dtype)
            wide = state["memory.momentum.W1"].dtype
            project_q, project_k, project_v = (weight.to(wide) for weight in (self.project_q, self.project_k, self.project_v))
            project_gate, project_out = (weight.to(wide) for weight in (self.project_gate, self.project_out))
            project_rate, project_decay = (weight.to(wide) for weight in (self.project_rate, self.project_decay))
            project_retention = self.project_retention.to(wide)
            position = state["position"] + 1
            due = position % 64 == 0
            v = torch.nn.functional.silu(torch.unflatten(x @ project_v.mT, -1, (self.heads, -1)))
            gate = torch.unflatten(x @ project_gate.mT, -1, (self.heads, -1)).sigmoid()
            inner_decay = (x @ project_decay.mT).sigmoid()
            rate = self.largest_rate * (x @ project_rate.mT).sigmoid()
            retention = (self.retained + x @ project_retention.mT).sigmoid()
            q = torch.nn.functional.normalize(torch.nn.functional.silu(torch.unflatten(x @ project_q.mT, -1, (self.heads, -1))), dim=-1)
            k = torch.nn.functional.normalize(torch.nn.functional.silu(torch.unflatten(x @ project_k.mT, -1, (self.heads, -1))), dim=-1)
            layer = (state["memory.W1.held_64"] @ k[..., None]).squeeze(-1)
            activation = torch.nn.functional.gelu(layer)
            prediction = (state["memory.W2.held_64"] @ activation[..., None]).squeeze(-1)
            error = prediction - v
            slope = torch.special.ndtr(layer) + layer * (torch.exp(-layer.square() / 2) / math.sqrt(2 * math.pi))
            local_surprise = (state["memory.W2.held_64"].mT @ error[..., None]).squeeze(-1) * slope
            gradient_W1 = local_surprise[..., None] * k[..., None, :]
            gradient_W2 = error[..., None] * activation[..., None, :]
            momentum_W1 = inner_decay[..., None, None] * state["memory.momentum.W1"] - rate[..., None, None] * gradient_W1
            momentum_W2 = inner_decay[..., None, None] * state["memory.momentum.W2"] - rate[..., None, None] * gradient_W2
            memory_W1 = retention[..., None, None] * state["memory.W1"] + momentum_W1
            memory_W2 = retention[..., None, None] * state["memory.W2"] + momentum_W2
            y_hidden = torch.nn.functional.gelu((memory_W1 @ q[..., None]).squeeze(-1))
            memory_read = (memory_W2 @ y_hidden[..., None]).squeeze(-1)
            y = (torch.nn.functional.rms_norm(memory_read, (self.d_head,), eps=1e-06) * gate).flatten(-2) @ project_out.mT
            state = {
                "memory.momentum.W1": momentum_W1,
                "memory.momentum.W2": momentum_W2,
                "memory.W1": memory_W1,
                "memory.W2": memory_W2,
                "memory.W1.held_64": torch.where(due, memory_W1, state["memory.W1.held_64"]),
                "memory.W2.held_64": torch.where(due, memory_W2, state["memory.W2.held_64"]),
                "position": position,
            }
            return y.to(dtype), state

    def _start(self, state: dict[str, Tensor] | None, batch: int, heads: int, like: Tensor) -> dict[str, Tensor]:
        """The state to start from, never narrower than zeros would be."""
        zeros = self.initial_state(batch, heads, like=like)
        if state is None:
            return zeros
        return {name: state[name].to(torch.promote_types(state[name].dtype, zero.dtype)) for name, zero in zeros.items()}


def _full_precision(x: Tensor) -> torch.autocast:
    """No autocast inside: the state keeps its precision."""
    return torch.autocast("cpu" if x.is_meta else x.device.type, enabled=False)


def _block_lengths(before: int, tokens: int, time: int) -> list[int]:
    """The lengths of blocks that end at every multiple of `tokens`, counted from the start of the stream, and with the sequence."""
    ends = [*range(tokens - before % tokens, time, tokens), time]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)] if time else []


def _kept(decay: Tensor) -> Tensor:
    """(copies, n) -> (copies, n + 1, n + 1): entry [t, s] is decay_{s+1} ... decay_t, row and column 0 the start.

    It solves x_t = decay_t x_{t-1} + e_t, a bidiagonal system, by products alone: a decay of 0 is exact, in values and gradients.
    """
    identity = torch.eye(decay.shape[1] + 1, dtype=decay.dtype, device=decay.device)
    below = nn.functional.pad(-decay[..., None] * identity[:-1], (0, 0, 1, 0))
    kept: Tensor = torch.linalg.solve_triangular(below, identity, upper=False, unitriangular=True)
    return kept


def _read_matrix(query: Tensor, starts: list[tuple[Tensor, Tensor]], writes: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """A matrix at every token, times the query there: what is left of starts and of writes value along^T, each (left, ...).

    Streams are (copies, tokens, size).
    """
    (left, start), *others = starts
    read = left[:, 1:, :1] * (query @ start.mT)
    for left, start in others:
        read = torch.addcmul(read, left[:, 1:, :1], query @ start.mT)
    for left, along, value in writes:
        read = torch.baddbmm(read, left[:, 1:, 1:] * (query @ along.mT), value)
    return read


def _moved_matrix(starts: list[tuple[Tensor, Tensor]], writes: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """A matrix after the last token of the block."""
    (left, start), *others = starts
    moved = left[:, -1:, :1] * start
    for left, start in others:
        moved = torch.addcmul(moved, left[:, -1:, :1], start)
    for left, along, value in writes:
        moved = torch.baddbmm(moved, (left[:, -1, 1:, None] * value).mT, along)
    return moved


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


# sealed by nlc, sha256 of everything above: 23c875f34d5f26175907a656adde5bd541c8d8a23386b3c8bfaeb5ca22c419df
