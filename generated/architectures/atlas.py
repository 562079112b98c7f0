"""Atlas, compiled from its description.

A network that fits its last few tokens together, not the newest alone, and moves along their momentum, whose singular values are brought
near 1 first; the gradients are taken at the start of each period.

Compiled by nlc from specs/architectures/atlas.yaml. Edit the spec, not this file.
sha256 of the spec: f10a6f3e45f32b00c4bb69fe92038afd0a631ac4f5fc8e6dbf4f503345351c30

Levels, fastest first (Nested Learning, Definition 2)
    rank  components             every      paper's number (slowest highest / slowest first)
    0     memory.orthogonalised  token / 5  1 / 3
    1     memory.momentum        token      2 / 2
    2     memory                 token      3 / 1

Timetable
    every token  memory.momentum, memory.orthogonalised, memory

Laws, per token; prev is the state before
    layer              = prev(memory.W1.held_16) @ k                                                 into gelu
    activation         = gelu(layer)                                                                 out of gelu
    prediction         = prev(memory.W2.held_16) @ activation                                        read at the key
    error              = prediction - v
                         objective 0.5 * sum(gamma * norm2(memory.W2 @ gelu(memory.W1 @ k) - v), over = window)
    layer_1            = prev(memory.W1.held_16) @ delay(k, 1 token)                                 into gelu
    activation_1       = gelu(layer_1)                                                               out of gelu
    prediction_1       = prev(memory.W2.held_16) @ activation_1                                      read at the key 1 token ago
    error_1            = prediction_1 - delay(v, 1 token)
                         objective 0.5 * sum(gamma * norm2(memory.W2 @ gelu(memory.W1 @ k) - v), over = window)
    slope              = normal_cdf(layer) + layer * normal_density(layer)                           derivative of gelu
    local_surprise     = gamma * (transpose(prev(memory.W2.held_16)) @ error * slope)                gradient by layer; calculus
    slope_1            = normal_cdf(layer_1) + layer_1 * normal_density(layer_1)                     derivative of gelu
    local_surprise_1   = delay(gamma, 1 token) * (transpose(prev(memory.W2.held_16)) @ error_1 * slope_1)
                         gradient by layer_1; calculus
    gradient_W1        = outer(local_surprise, k) + outer(local_surprise_1, delay(k, 1 token))       adjoint of apply; calculus
    gradient_W2        = gamma * outer(error, activation) + delay(gamma, 1 token) * outer(error_1, activation_1)
                         adjoint of apply; calculus
    momentum.W1        = theta * prev(memory.momentum.W1) + gradient_W1
                         explicit gradient step on -dot(memory.momentum.W1, gradient(memory.W1)) - dot(memory.momentum.W2,
                         gradient(memory.W2)); atlas
    momentum.W2        = theta * prev(memory.momentum.W2) + gradient_W2
                         explicit gradient step on -dot(memory.momentum.W1, gradient(memory.W1)) - dot(memory.momentum.W2,
                         gradient(memory.W2)); atlas
    start_W1           = memory.momentum.W1 / (norm(memory.momentum.W1) + 0.0000001)                 where its rounds start
    start_W2           = memory.momentum.W2 / (norm(memory.momentum.W2) + 0.0000001)                 where its rounds start
    gram_W1            = transpose(prev(memory.orthogonalised.W1)) @ prev(memory.orthogonalised.W1)  the Gram matrix
    gram_W2            = prev(memory.orthogonalised.W2) @ transpose(prev(memory.orthogonalised.W2))  the Gram matrix
    orthogonalised.W1  = 3.4445 * prev(memory.orthogonalised.W1) - prev(memory.orthogonalised.W1) @ (4.775 * gram_W1 - 2.0315 * (gram_W1 @
                         gram_W1))
                         explicit gradient step, in each of 5 rounds; atlas
    orthogonalised.W2  = 3.4445 * prev(memory.orthogonalised.W2) - (4.775 * gram_W2 - 2.0315 * (gram_W2 @ gram_W2)) @
                         prev(memory.orthogonalised.W2)
                         explicit gradient step, in each of 5 rounds; atlas
    memory.W1          = alpha * prev(memory.W1) - eta * memory.orthogonalised.W1
                         explicit gradient step on dot(memory.W1, memory.orthogonalised.W1) + dot(memory.W2, memory.orthogonalised.W2);
                         atlas
    memory.W2          = alpha * prev(memory.W2) - eta * memory.orthogonalised.W2
                         explicit gradient step on dot(memory.W1, memory.orthogonalised.W1) + dot(memory.W2, memory.orthogonalised.W2);
                         atlas
    y                  = memory.W2 @ gelu(memory.W1 @ q)                                             read after the write
    memory.W1.held_16  = where(due(16 tokens), memory.W1, prev(memory.W1.held_16))                   kept: read by hold(memory, 16 tokens)
    memory.W2.held_16  = where(due(16 tokens), memory.W2, prev(memory.W2.held_16))                   kept: read by hold(memory, 16 tokens)
    recent.gamma       = recent(gamma) and gamma
                         kept: the last values of gamma, for windows
    recent.k           = recent(k) and k                                                             kept: the last values of k, for windows
    recent.v           = recent(v) and v                                                             kept: the last values of v, for windows
    position           = prev(position) + 1                                                          kept: the tokens so far

Form
    memory.momentum, memory.orthogonalised and memory: recurrence
        Memory.orthogonalised starts again at every token, and what it comes to in its rounds is not affine in that (Nonlinear).
        No parallel form of the table fits, so the law runs token by token.
"""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["Atlas"]


class Atlas(nn.Module):
    """Atlas, a memory over a sequence.

    A network that fits its last few tokens together, not the newest alone, and moves along their momentum, whose singular values
    are brought near 1 first; the gradients are taken at the start of each period.

    Inputs, by keyword, in any float dtype:
        q      (batch, time, heads, d_k)
        k      (batch, time, heads, d_k)
        v      (batch, time, heads, d_v)
        alpha  (batch, time, heads)
        gamma  (batch, time, heads)
        theta  (batch, time, heads)
        eta    (batch, time, heads)
    State, kept in float32 or wider (a dict by name; None starts from zeros):
        memory.momentum.W1, memory.W1, memory.W1.held_16  (batch, heads, 4 * d_k, d_k)
        memory.momentum.W2, memory.W2, memory.W2.held_16  (batch, heads, d_v, 4 * d_k)
        recent.gamma  (batch, heads, 1)
        recent.k  (batch, heads, 1, d_k)
        recent.v  (batch, heads, 1, d_v)
        position  (), int64: how many tokens came before
    Returns the outputs (the tensor itself) and the state after the last token:
        y  (batch, time, heads, d_v)
    Under torch.compile the loop over tokens is unrolled: compile `step` instead.
    `nonfinite` says what to do at a token with numbers that are not finite: "raise" or "propagate" (no "skip": tokens are counted or kept).
    `checkpoint`, in tokens: the backward keeps the states between pieces of so many tokens, and computes the rest anew.
    """

    def __init__(self, d_k: int = 64, d_v: int = 64, nonfinite: str = "propagate", checkpoint: int | None = None) -> None:
        super().__init__()
        if nonfinite not in ("raise", "propagate"):
            raise ValueError(f'nonfinite must be "raise" or "propagate", not {nonfinite!r}')
        if checkpoint is not None and checkpoint < 1:
            raise ValueError(f"checkpoint must be None, or 1 token or more, not {checkpoint}")
        self.nonfinite = nonfinite
        self.checkpoint = checkpoint
        self.d_k = d_k
        self.d_v = d_v

    def initial_state(self, batch: int, heads: int, *, like: Tensor) -> dict[str, Tensor]:
        """Zeros on the device of `like`, in its dtype or float32, whichever is wider."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        return {
            "memory.momentum.W1": like.new_zeros(batch, heads, 4 * self.d_k, self.d_k, dtype=dtype),
            "memory.momentum.W2": like.new_zeros(batch, heads, self.d_v, 4 * self.d_k, dtype=dtype),
            "memory.W1": like.new_zeros(batch, heads, 4 * self.d_k, self.d_k, dtype=dtype),
            "memory.W2": like.new_zeros(batch, heads, self.d_v, 4 * self.d_k, dtype=dtype),
            "memory.W1.held_16": like.new_zeros(batch, heads, 4 * self.d_k, self.d_k, dtype=dtype),
            "memory.W2.held_16": like.new_zeros(batch, heads, self.d_v, 4 * self.d_k, dtype=dtype),
            "recent.gamma": like.new_zeros(batch, heads, 1, dtype=dtype),
            "recent.k": like.new_zeros(batch, heads, 1, self.d_k, dtype=dtype),
            "recent.v": like.new_zeros(batch, heads, 1, self.d_v, dtype=dtype),
            "position": like.new_zeros((), dtype=torch.int64),
        }

    def forward(
        self,
        *,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        alpha: Tensor,
        gamma: Tensor,
        theta: Tensor,
        eta: Tensor,
        state: dict[str, Tensor] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The whole sequence, token by token: no parallel form is known for these laws."""
        if self.checkpoint is not None or self.nonfinite != "propagate":
            return _managed(self, {"q": q, "k": k, "v": v, "alpha": alpha, "gamma": gamma, "theta": theta, "eta": eta}, state)
        return self.forward_by_token(q=q, k=k, v=v, alpha=alpha, gamma=gamma, theta=theta, eta=eta, state=state)

    def forward_by_token(
        self,
        *,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        alpha: Tensor,
        gamma: Tensor,
        theta: Tensor,
        eta: Tensor,
        state: dict[str, Tensor] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The laws, one token at a time: slow, and what `forward` must equal."""
        batch, _, heads = q.shape[:3]
        state = self._start(state, batch, heads, q)
        outputs = [q.new_empty(batch, 0, heads, self.d_v)]
        for t in range(q.shape[1]):
            y, state = self.step(
                q=q[:, t], k=k[:, t], v=v[:, t], alpha=alpha[:, t], gamma=gamma[:, t], theta=theta[:, t], eta=eta[:, t], state=state
            )
            outputs.append(y.unsqueeze(1))
        return torch.cat(outputs, 1), state

    def step(
        self, *, q: Tensor, k: Tensor, v: Tensor, alpha: Tensor, gamma: Tensor, theta: Tensor, eta: Tensor, state: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """One token, for decoding: the laws as they stand; inputs without their time dim."""
        _check_windows(state)
        with _full_precision(q):
            dtype = q.dtype
            q, k, v, alpha, gamma, theta, eta = (x.to(state["memory.momentum.W1"].dtype) for x in (q, k, v, alpha, gamma, theta, eta))
            position = state["position"] + 1
            due = position % 16 == 0
            recent_gamma = torch.cat((state["recent.gamma"], gamma.unsqueeze(-1)), -1)
            recent_k = torch.cat((state["recent.k"], k.unsqueeze(-2)), -2)
            recent_v = torch.cat((state["recent.v"], v.unsqueeze(-2)), -2)
            layer = (state["memory.W1.held_16"] @ k[..., None]).squeeze(-1)
            activation = torch.nn.functional.gelu(layer)
            prediction = (state["memory.W2.held_16"] @ activation[..., None]).squeeze(-1)
            error = prediction - v
            layer_1 = (state["memory.W1.held_16"] @ recent_k[..., -2, :][..., None]).squeeze(-1)
            activation_1 = torch.nn.functional.gelu(layer_1)
            prediction_1 = (state["memory.W2.held_16"] @ activation_1[..., None]).squeeze(-1)
            error_1 = prediction_1 - recent_v[..., -2, :]
            slope = torch.special.ndtr(layer) + layer * (torch.exp(-layer.square() / 2) / math.sqrt(2 * math.pi))
            local_surprise = gamma[..., None] * ((state["memory.W2.held_16"].mT @ error[..., None]).squeeze(-1) * slope)
            slope_1 = torch.special.ndtr(layer_1) + layer_1 * (torch.exp(-layer_1.square() / 2) / math.sqrt(2 * math.pi))
            local_surprise_1 = recent_gamma[..., -2][..., None] * (
                (state["memory.W2.held_16"].mT @ error_1[..., None]).squeeze(-1) * slope_1
            )
            gradient_W1 = local_surprise[..., None] * k[..., None, :] + local_surprise_1[..., None] * recent_k[..., -2, :][..., None, :]
            gradient_W2 = gamma[..., None, None] * (error[..., None] * activation[..., None, :])
            gradient_W2 = gradient_W2 + recent_gamma[..., -2][..., None, None] * (error_1[..., None] * activation_1[..., None, :])
            momentum_W1 = theta[..., None, None] * state["memory.momentum.W1"] + gradient_W1
            momentum_W2 = theta[..., None, None] * state["memory.momentum.W2"] + gradient_W2
            orthogonalised_W1 = momentum_W1 / (torch.linalg.vector_norm(momentum_W1, dim=(-2, -1)) + 0.0000001)[..., None, None]
            orthogonalised_W2 = momentum_W2 / (torch.linalg.vector_norm(momentum_W2, dim=(-2, -1)) + 0.0000001)[..., None, None]
            for _ in range(5):
                gram_W1 = orthogonalised_W1.mT @ orthogonalised_W1
                gram_W2 = orthogonalised_W2 @ orthogonalised_W2.mT
                orthogonalised_W1 = 3.4445 * orthogonalised_W1 - orthogonalised_W1 @ (4.775 * gram_W1 - 2.0315 * (gram_W1 @ gram_W1))
                orthogonalised_W2 = 3.4445 * orthogonalised_W2 - (4.775 * gram_W2 - 2.0315 * (gram_W2 @ gram_W2)) @ orthogonalised_W2
            memory_W1 = alpha[..., None, None] * state["memory.W1"] - eta[..., None, None] * orthogonalised_W1
            memory_W2 = alpha[..., None, None] * state["memory.W2"] - eta[..., None, None] * orthogonalised_W2
            y_hidden = torch.nn.functional.gelu((memory_W1 @ q[..., None]).squeeze(-1))
            y = (memory_W2 @ y_hidden[..., None]).squeeze(-1)
            state = {
                "memory.momentum.W1": momentum_W1,
                "memory.momentum.W2": momentum_W2,
                "memory.W1": memory_W1,
                "memory.W2": memory_W2,
                "memory.W1.held_16": torch.where(due, memory_W1, state["memory.W1.held_16"]),
                "memory.W2.held_16": torch.where(due, memory_W2, state["memory.W2.held_16"]),
                "recent.gamma": recent_gamma[..., 1:],
                "recent.k": recent_k[..., 1:, :],
                "recent.v": recent_v[..., 1:, :],
                "position": position,
            }
            return y.to(dtype), state

    def _start(self, state: dict[str, Tensor] | None, batch: int, heads: int, like: Tensor) -> dict[str, Tensor]:
        """The state to start from, never narrower than zeros would be."""
        zeros = self.initial_state(batch, heads, like=like)
        if state is None:
            return zeros
        _check_windows(state)
        return {name: state[name].to(torch.promote_types(state[name].dtype, zero.dtype)) for name, zero in zeros.items()}


def _full_precision(x: Tensor) -> torch.autocast:
    """No autocast inside: the state keeps its precision."""
    return torch.autocast("cpu" if x.is_meta else x.device.type, enabled=False)


def _check_windows(state: dict[str, Tensor]) -> None:
    """Raises ValueError where the state does not carry the tokens that the windows of this module look back to."""
    for level, name, dim, tokens in (("memory", "recent.gamma", 2, 1), ("memory", "recent.k", 2, 1), ("memory", "recent.v", 2, 1)):
        carried = state[name].shape[dim] if name in state else 0
        if carried != tokens:
            here = f"{level} looks back {tokens} tokens from the first one here"
            raise ValueError(f"{here}, but the state carries {carried} in {name}")


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
    for t in range(streams["q"].shape[1]):
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


# sealed by nlc, sha256 of everything above: df9b0f914c864af3e506cb5ec361f880272500255eb96f3b11ede64b8a16aa78
