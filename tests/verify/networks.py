"""Specs of random small networks as memories: any depth, activation, objective, retention and optimizer."""

from __future__ import annotations

from hypothesis import strategies as st

SPEC = """\
nlc: 1
name: Network
dims: {{d_k: 4, d_v: 3, d_hidden: 5}}
axes: [heads]
inputs: {{q: [d_k], k: [d_k], v: [d_v], beta: {{shape: [], range: [0, 0.1]}}, alpha: {{shape: [], range: [0, 1]}}}}
levels:
  memory:
    memory: mlp({sizes}, activation = {activation})
    keys: k
    values: v
    objective: {objective}
    {retention}
    optimizer: {optimizer}
    every: token
outputs: {{y: memory(q), before: prev(memory)(k)}}
"""

RETENTIONS = (
    "gradient_at: previous",
    "retention: alpha",
    "retention: 0.9\n    gradient_at: retained",
    "retention: alpha\n    gradient_at: hold(3 tokens)",
)
OPTIMIZERS = (
    "gradient_descent(beta)",
    "momentum(learning_rate = beta, decay = 0.5)",
    "heavy_ball(learning_rate = 0.05, decay = alpha / 2)",
)


@st.composite
def networks(draw: st.DrawFn) -> str:
    """The text of a spec whose memory is a network of one to three layers."""
    hidden = draw(st.lists(st.sampled_from(("d_hidden", "2 * d_k", "d_v", "2")), max_size=2))
    return SPEC.format(
        sizes=", ".join(("d_k", *hidden, "d_v")),
        activation=draw(st.sampled_from(("gelu", "silu", "relu", "tanh", "sigmoid", "softplus", "sin"))),
        objective=draw(st.sampled_from(("l2", "dot", "log_cosh", "l2 + 0.1 * norm2(prediction)"))),
        retention=draw(st.sampled_from(RETENTIONS)),
        optimizer=draw(st.sampled_from(OPTIMIZERS)),
    )
