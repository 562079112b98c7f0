"""Specs whose gradients are held over a chunk: every kind of memory, optimizers of several levels, held reads in objectives."""

from __future__ import annotations

HEAD = """
nlc: 1
name: {name}
dims: {{d_k: 4, d_v: 3}}
axes: [heads]
hyperparameters: {{period: 3}}
inputs:
  q: [d_k]
  k: [d_k]
  v: [d_v]
  beta: {{shape: [], range: [0, 1]}}
  alpha: {{shape: [], range: [0, 1], axes: []}}
"""

LEVEL = """
levels:
  memory:
    memory: {memory}
    keys: k
    values: v
    objective: {objective}
    retention: alpha
    gradient_at: hold({period} tokens)
    optimizer: {optimizer}
    every: {every}
outputs:
  y: {read}
  before: {before}
"""


def spec(
    name: str,
    memory: str,
    *,
    objective: str = "l2",
    optimizer: str = "gradient_descent(beta / 4)",
    period: str = "period",
    every: str = "token",
    read: str = "memory(q)",
    before: str = "prev(memory)(q)",
    define: str = "",
) -> str:
    """The text of a spec with one memory of the kind."""
    level = LEVEL.format(memory=memory, objective=objective, optimizer=optimizer, period=period, every=every, read=read, before=before)
    return HEAD.format(name=name) + define + level


MOMENTUM = "momentum(learning_rate = beta / 4, decay = alpha / 2)"
RESIDUAL = """
define:
  residual:
    states: {V: [d_v, 5], W: [5, d_k], b: [5]}
    read: (x) -> tanh(V @ silu(W @ x + b))
"""

MATRIX = spec("HeldMatrix", "matrix(d_v, d_k)", before="prev(memory)(q) + hold(memory, period tokens)(q)")
VECTOR = spec("HeldVector", "vector(d_v)", read="memory", before="hold(memory, 2 tokens)").replace("    keys: k\n", "")
NETWORK = spec("HeldNetwork", "mlp(d_k, 5, d_v, activation = gelu)", optimizer=MOMENTUM)
DEFINED = spec("HeldDefined", "residual", optimizer="heavy_ball(learning_rate = 0.1, decay = 0.5)", period="4", define=RESIDUAL)
TARGETS = spec("HeldTargets", "matrix(d_v, d_k)", objective="l2 + 0.1 * dot(memory(k), stop_gradient(hold(memory, 2 tokens)(q)))")
SLOWER = spec("HeldSlower", "matrix(d_v, d_k)", every="2 tokens", period="4", optimizer=MOMENTUM)

SYSTEMS = (MATRIX, VECTOR, NETWORK, DEFINED, TARGETS, SLOWER)

GATED = """
define:
  gated:
    states: {A: [6, d_k], G: [6, d_k], a: [6], B: [5, 6], b: [5], C: [d_v, 5]}
    read: (x) -> C @ silu(B @ (silu(A @ x + a) * (G @ x)) + b) + 0.1 * layer_norm(C @ (B @ (A @ x)))
"""
UNPUBLISHED = spec("HeldGated", "gated", objective="huber(0.5)", optimizer=MOMENTUM, period="4", define=GATED)
"""A gated network of three layers and a norm, fitted by Huber's error with momentum: nobody has published it."""
