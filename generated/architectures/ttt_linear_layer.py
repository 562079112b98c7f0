"""TTTLinearLayer, compiled from its description.

TTT-Linear between trained projections, with convolved queries and keys, a gate, and for each head a rate, norm and start.

Compiled by nlc from specs/architectures/ttt_linear_layer.yaml. Edit the spec, not this file.
sha256 of the spec: 17ca05707bc34ef9580a31c8103059f9eca96d1d846563bbe6451d7e8166bb38

Levels, fastest first (Nested Learning, Definition 2)
    rank  components                                                    every  paper's number (slowest highest / slowest first)
    0     memory                                                        token  1 / 2
    1     kernel_k, kernel_q, memory.start, project_gate, project_out,  step   2 / 1
          project_q, project_rate, project_v, scale, shift

Timetable
    every token  memory
    every step   kernel_k, kernel_q, memory.start, project_gate, project_out,
                 project_q, project_rate, project_v, scale, shift

Laws, per token; prev is the state before
    gain                    = split(scale, heads)                                                         abbreviation
    offset                  = split(shift, heads)                                                         abbreviation
    v                       = split(project_v @ x, heads)                                                 abbreviation
    gate                    = gelu(split(project_gate @ x, heads))                                        abbreviation
    learning_rate           = largest_rate / (d_model / heads) * sigmoid(split(project_rate @ x, heads))  abbreviation
    q                       = split(convolve(project_q @ x, kernel_q), heads)                             abbreviation
    k                       = split(convolve(project_q @ x, kernel_k), heads)                             abbreviation
    layer                   = prev(memory.weights.held_16) @ k + prev(memory.bias.held_16)                into layer_norm
    activation              = layer_norm(layer)                                                           out of layer_norm
    error                   = k + gain * activation + offset - v
                              objective 0.5 * norm2(k + gain * layer_norm(memory.weights @ k + memory.bias) + offset - v)
    norm_surprise           = error * gain                                                                gradient by activation; calculus
    deviation               = sqrt(norm2(layer - sum(layer) / (d_model / heads)) / (d_model / heads) + 0.00001)
                              the norm divides by it
    local_surprise          = norm_surprise / deviation - sum(norm_surprise) / (d_model / heads) / deviation - dot(norm_surprise,
                              activation) / (d_model / heads) / deviation * activation
                              gradient by layer; calculus
    gradient_weights        = outer(local_surprise, k)                                                    adjoint of the error; calculus
    rate                    = learning_rate                                                               learning rate
    memory.weights          = prev(memory.weights) - rate * gradient_weights                              explicit gradient step; ttt
    memory.bias             = prev(memory.bias) - rate * local_surprise                                   explicit gradient step; ttt
    y                       = project_out @ join(layer_norm(q + gain * layer_norm(memory.weights @ q + memory.bias) + offset) * gate, heads)
                              read after the write
    memory.bias.held_16     = where(due(16 tokens), memory.bias, prev(memory.bias.held_16))
                              kept: read by hold(memory, 16 tokens)
    memory.weights.held_16  = where(due(16 tokens), memory.weights, prev(memory.weights.held_16))
                              kept: read by hold(memory, 16 tokens)
    recent.project_q        = recent(project_q @ x) and project_q @ x
                              kept: the last values of project_q @ x, for delays and convolutions
    position                = prev(position) + 1                                                          kept: the tokens so far

Form
    memory: dual form (ttt, titans)
        It moves by gradients at a held state, which are told layer by layer (Dense).
        The gradients of a block are taken at one state, so its weights are sums of them, and reads are products of matrices.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["TTTLinearLayer"]


class TTTLinearLayer(nn.Module):
    """TTT-Linear between trained projections, with convolved queries and keys, a gate, and for each head a rate, norm and start.

    Inputs, by keyword, in any float dtype:
        x  (batch, time, d_model)
    State, kept in float32 or wider (a dict by name; None starts from the initial state):
        memory.weights, memory.weights.held_16  (batch, heads, d_model / heads, d_model / heads)
        memory.bias, memory.bias.held_16  (batch, heads, d_model / heads)
        recent.project_q  (batch, width - 1, d_model)
        position  (), int64: how many tokens came before
    Returns the outputs (the tensor itself) and the state after the last token:
        y  (batch, time, d_model)
    Under torch.compile every new length compiles anew.
    The sequence runs in blocks of 16 tokens, counted from the position of the state that is handed in.
    `nonfinite` says what to do at a token with numbers that are not finite: "raise" or "propagate" (no "skip": tokens are counted or kept).
    `checkpoint`, in tokens: the backward keeps the states between pieces of so many tokens, and computes the rest anew.
    """

    def __init__(
        self,
        d_model: int = 256,
        heads: int = 4,
        width: int = 4,
        largest_rate: float = 1.0,
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
        self.width = width
        self.largest_rate = largest_rate
        if d_model % heads:
            raise ValueError(f"d_head = d_model / heads must be a whole number, not {d_model} / {heads}")
        self.d_head = d_model // heads
        self.project_q = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_v = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_gate = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_out = nn.Parameter(torch.empty(self.d_model, self.d_model))
        self.project_rate = nn.Parameter(torch.empty(self.heads, self.d_model))
        self.kernel_q = nn.Parameter(torch.empty(self.width, self.d_model))
        self.kernel_k = nn.Parameter(torch.empty(self.width, self.d_model))
        self.scale = nn.Parameter(torch.empty(self.d_model))
        self.shift = nn.Parameter(torch.empty(self.d_model))
        self.memory_start_weights = nn.Parameter(torch.empty(self.d_head, self.d_head))
        self.memory_start_bias = nn.Parameter(torch.empty(self.d_head))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The slow levels as training finds them."""
        for weight in (self.project_q, self.project_v, self.project_gate, self.project_out, self.project_rate):
            nn.init.uniform_(weight, -(self.d_model**-0.5), self.d_model**-0.5)
        nn.init.uniform_(self.kernel_q, -(self.width**-0.5), self.width**-0.5)
        nn.init.uniform_(self.kernel_k, -(self.width**-0.5), self.width**-0.5)
        nn.init.constant_(self.scale, 1)
        nn.init.constant_(self.shift, 0)
        nn.init.uniform_(self.memory_start_weights, -(self.d_head**-0.5), self.d_head**-0.5)
        nn.init.zeros_(self.memory_start_bias)

    def initial_state(self, batch: int, heads: int, *, like: Tensor) -> dict[str, Tensor]:
        """The start on the device of `like`, in its dtype or float32, whichever is wider."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        starts = {
            "memory.weights": self.memory_start_weights.to(dtype).expand(batch, heads, self.d_head, self.d_head),
            "memory.bias": self.memory_start_bias.to(dtype).expand(batch, heads, self.d_head),
        }
        held = {f"{name}.held_16": start for name, start in starts.items()}
        others = {
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
            x = x.to(state["memory.weights"].dtype)
            wide = state["memory.weights"].dtype
            project_q, project_v, project_gate = (weight.to(wide) for weight in (self.project_q, self.project_v, self.project_gate))
            project_out, project_rate, kernel_q = (weight.to(wide) for weight in (self.project_out, self.project_rate, self.kernel_q))
            kernel_k, scale, shift = (weight.to(wide) for weight in (self.kernel_k, self.scale, self.shift))
            recent_project_q = torch.cat((state["recent.project_q"], x @ project_q.mT), 1)
            gain = torch.unflatten(scale, -1, (self.heads, -1))
            offset = torch.unflatten(shift, -1, (self.heads, -1))
            v = torch.unflatten(x @ project_v.mT, -1, (self.heads, -1))
            gate = torch.nn.functional.gelu(torch.unflatten(x @ project_gate.mT, -1, (self.heads, -1)))
            learning_rate = self.largest_rate / self.d_head * (x @ project_rate.mT).sigmoid()
            q = torch.unflatten(_convolved(recent_project_q, kernel_q), -1, (self.heads, -1))
            k = torch.unflatten(_convolved(recent_project_q, kernel_k), -1, (self.heads, -1))
            streams = (q, k, v, learning_rate, gate)
            lengths = _block_lengths(before, 16, x.shape[1])
            blocks = zip(*(torch.split(x.movedim(1, 2).flatten(0, 1), lengths, 1) for x in streams), strict=True)
            moved = {name: x.flatten(0, 1) for name, x in state.items() if name not in {"recent.project_q", "position"}}
            y_inside_in_blocks = [x.new_empty(batch * heads, 0, self.d_head)]
            for given in blocks:
                y_inside, moved = self._block(
                    *given,
                    gain=gain.expand(batch, 1, heads, -1).movedim(1, 2).flatten(0, 1),
                    offset=offset.expand(batch, 1, heads, -1).movedim(1, 2).flatten(0, 1),
                    state=moved,
                    before=before,
                )
                before = before + given[0].shape[1]
                y_inside_in_blocks.append(y_inside)
            y_inside = torch.unflatten(torch.cat(y_inside_in_blocks, 1), 0, (batch, heads)).movedim(2, 1)
            y = y_inside.flatten(-2) @ project_out.mT
            last = {"position": state["position"] + x.shape[1], "recent.project_q": recent_project_q[:, x.shape[1] :]}
            state = {name: torch.unflatten(x, 0, (batch, heads)) for name, x in moved.items()} | last
            return y.to(dtype), state

    def _block(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        learning_rate: Tensor,
        gate: Tensor,
        *,
        gain: Tensor,
        offset: Tensor,
        state: dict[str, Tensor],
        before: int,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The tokens up to where a period may end: what moves every so many tokens moves after them, if it does."""
        position = before + q.shape[1]
        due = position % 16 == 0
        layer = torch.baddbmm(state["memory.bias.held_16"].unsqueeze(1), k, state["memory.weights.held_16"].mT)
        activation = torch.nn.functional.layer_norm(layer, (self.d_head,))
        error = k + gain * activation + offset - v
        norm_surprise = error * gain
        deviation = ((layer - (layer.sum(-1) / self.d_head)[..., None]).square().sum(-1) / self.d_head + 0.00001).sqrt()
        local_surprise = (
            norm_surprise / deviation[..., None]
            - (norm_surprise.sum(-1) / self.d_head / deviation)[..., None]
            - ((norm_surprise * activation).sum(-1) / self.d_head / deviation)[..., None] * activation
        )
        memory_kept = _kept(q.new_full((), 1).expand(q.shape[0], q.shape[1]))
        weights_write = -learning_rate[..., None] * local_surprise
        memory_read = _read_matrix(q, (memory_kept, state["memory.weights"]), [(memory_kept, k, weights_write)])
        memory_read_2 = _moved_vector((memory_kept, state["memory.bias"]), [(memory_kept, weights_write)])
        memory_weights = _moved_matrix((memory_kept, state["memory.weights"]), [(memory_kept, k, weights_write)])
        memory_bias = _moved_vector((memory_kept, state["memory.bias"]), [(memory_kept, weights_write)])[:, -1]
        y_inside_hidden = q + gain * torch.nn.functional.layer_norm(memory_read + memory_read_2, (self.d_head,)) + offset
        y_inside = torch.nn.functional.layer_norm(y_inside_hidden, (self.d_head,)) * gate
        moved = {"memory.weights": memory_weights, "memory.bias": memory_bias}
        held = {f"{name}.held_16": new if due else state[f"{name}.held_16"] for name, new in moved.items()}
        return y_inside, moved | held

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
            x = x.to(state["memory.weights"].dtype)
            wide = state["memory.weights"].dtype
            project_q, project_v, project_gate = (weight.to(wide) for weight in (self.project_q, self.project_v, self.project_gate))
            project_out, project_rate, kernel_q = (weight.to(wide) for weight in (self.project_out, self.project_rate, self.kernel_q))
            kernel_k, scale, shift = (weight.to(wide) for weight in (self.kernel_k, self.scale, self.shift))
            position = state["position"] + 1
            due = position % 16 == 0
            recent_project_q = torch.cat((state["recent.project_q"], (x @ project_q.mT).unsqueeze(-2)), -2)
            gain = torch.unflatten(scale, -1, (self.heads, -1))
            offset = torch.unflatten(shift, -1, (self.heads, -1))
            v = torch.unflatten(x @ project_v.mT, -1, (self.heads, -1))
            gate = torch.nn.functional.gelu(torch.unflatten(x @ project_gate.mT, -1, (self.heads, -1)))
            learning_rate = self.largest_rate / self.d_head * (x @ project_rate.mT).sigmoid()
            q = torch.unflatten((recent_project_q * kernel_q.flip(0)).sum(-2), -1, (self.heads, -1))
            k = torch.unflatten((recent_project_q * kernel_k.flip(0)).sum(-2), -1, (self.heads, -1))
            layer = (state["memory.weights.held_16"] @ k[..., None]).squeeze(-1) + state["memory.bias.held_16"]
            activation = torch.nn.functional.layer_norm(layer, (self.d_head,))
            error = k + gain * activation + offset - v
            norm_surprise = error * gain
            layer_centred = layer - (layer.sum(-1) / self.d_head)[..., None]
            deviation = (layer_centred.square().sum(-1) / self.d_head + 0.00001).sqrt()
            local_surprise = (
                norm_surprise / deviation[..., None]
                - (norm_surprise.sum(-1) / self.d_head / deviation)[..., None]
                - ((norm_surprise * activation).sum(-1) / self.d_head / deviation)[..., None] * activation
            )
            gradient_weights = local_surprise[..., None] * k[..., None, :]
            memory_weights = state["memory.weights"] - learning_rate[..., None, None] * gradient_weights
            memory_bias = state["memory.bias"] - learning_rate[..., None] * local_surprise
            y_hidden = (
                q
                + gain * torch.nn.functional.layer_norm((memory_weights @ q[..., None]).squeeze(-1) + memory_bias, (self.d_head,))
                + offset
            )
            y = (torch.nn.functional.layer_norm(y_hidden, (self.d_head,)) * gate).flatten(-2) @ project_out.mT
            moved = {"memory.weights": memory_weights, "memory.bias": memory_bias}
            held = {f"{name}.held_16": torch.where(due, new, state[f"{name}.held_16"]) for name, new in moved.items()}
            last = {"recent.project_q": recent_project_q[..., 1:, :], "position": position}
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


def _convolved(x: Tensor, kernel: Tensor) -> Tensor:
    """(batch, width - 1 + time, *axes, size) -> (batch, time, *axes, size): row j of the kernel times the value j tokens before."""
    width = kernel.shape[0]
    total = kernel[0] * x[:, width - 1 :]
    for tokens in range(1, width):
        total = total + kernel[tokens] * x[:, width - 1 - tokens : -tokens]
    return total


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


def _read_matrix(query: Tensor, start: tuple[Tensor, Tensor], writes: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """A matrix at every token, times the query there: what is left of a start and of writes value along^T, each (left, ...).

    Streams are (copies, tokens, size).
    """
    left, initial = start
    read = left[:, 1:, :1] * (query @ initial.mT)
    for left, along, value in writes:
        read = torch.baddbmm(read, left[:, 1:, 1:] * (query @ along.mT), value)
    return read


def _moved_matrix(start: tuple[Tensor, Tensor], writes: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """A matrix after the last token of the block."""
    left, initial = start
    moved = left[:, -1:, :1] * initial
    for left, along, value in writes:
        moved = torch.baddbmm(moved, (left[:, -1, 1:, None] * value).mT, along)
    return moved


def _moved_vector(start: tuple[Tensor, Tensor], writes: list[tuple[Tensor, Tensor]]) -> Tensor:
    """A vector at every token, (copies, tokens, size): what is left of a start and of writes, each (left, ...)."""
    left, initial = start
    moved = left[:, 1:, :1] * initial[:, None, :]
    for left, value in writes:
        moved = torch.baddbmm(moved, left[:, 1:, 1:], value)
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


# sealed by nlc, sha256 of everything above: f58b8abe47aa72cf8457dd1d5c5ee1a35c0b4f5af8be9d44f5fb7f42434688b1
