"""Random specs of deep memories whose gradients are held, and of levels on the clock `always`: the same seed, the same text."""

from __future__ import annotations

from random import Random

from tests.verify.held_gradients import spec

ACTIVATIONS = ("gelu", "silu", "tanh", "sigmoid", "softplus", "sin")
OBJECTIVES = ("l2", "dot", "huber(0.5)", "log_cosh", "0.5 * norm2(prediction - value) + 0.1 * norm2(prediction)", "l1")
OPTIMIZERS = (
    "gradient_descent(beta / 4)",
    "gradient_descent(0.2)",
    "momentum(learning_rate = beta / 4, decay = alpha / 2)",
    "heavy_ball(learning_rate = beta / 8, decay = 0.5)",
)
PERIODS = ("2", "3", "4", "5", "8")
OUTSIDE = ("W1 @ x", "norm2(W1) * (W1 @ x)")
"""Ways of the first layer: a linear one, and one that reads its matrix as a whole, which no dual form holds."""

KERNELS = ("exp(dot(k, now(q)) / sqrt(d_k))", "exp(-norm2(k - now(q)))", "beta * exp(dot(k, now(q)))", "1 / (1 + norm2(k - now(q)))")
WINDOWS = ("all", "1 token", "3 tokens", "20 tokens")

ATTENTION = """
nlc: 1
name: Attention
dims: {{d_k: 4, d_v: 3}}
axes: [heads]
inputs:
  q: [d_k]
  k: [d_k]
  v: [d_v]
  beta: {{shape: [], range: [0.1, 1]}}
levels:
  attention:
    memory: vector(d_v)
    window: {window}
    objective: {kernel} * norm2({value} - attention)
    optimizer: closed_form
    every: always
outputs:
  y: {read}
"""


def deep_spec(seed: int) -> str:
    """A memory of two or three layers, with biases, gates, norms or residuals, learned with its gradient held for some tokens."""
    chance = Random(seed)
    states, read = _layers(chance)
    sizes = ", ".join(f"{name}: [{size}]" for name, size in states.items())
    define = f"\ndefine:\n  network:\n    states: {{{sizes}}}\n    read: (x) -> {read}\n"
    objective, optimizer, period = chance.choice(OBJECTIVES), chance.choice(OPTIMIZERS), chance.choice(PERIODS)
    queried = chance.choice(("memory(q)", "memory(l2_normalise(q))", "tanh(memory(q)) + memory(k)"))
    before = chance.choice(("prev(memory)(q)", f"hold(memory, {period} tokens)(q)"))
    return spec("Deep", "network", objective=objective, optimizer=optimizer, period=period, read=queried, before=before, define=define)


def _layers(chance: Random) -> tuple[dict[str, str], str]:
    """The tensors of a network, and how it is read."""
    states, first = {"W1": "5, d_k"}, chance.choices(OUTSIDE, weights=(12, 1))[0]
    hidden = f"{chance.choice(ACTIVATIONS)}({first}{_bias(chance, states, 'b1', '5')})"
    if chance.random() < 0.4:
        states["G"] = "5, d_k"
        hidden = f"{hidden} * (G @ x)"
    if chance.random() < 0.4:
        states["W2"] = "5, 5"
        inner = f"{chance.choice(ACTIVATIONS)}(W2 @ ({hidden}){_bias(chance, states, 'b2', '5')})"
        hidden = chance.choice((inner, f"{hidden} + {inner}"))
    states["W3"] = "d_v, 5"
    answer = f"W3 @ ({hidden}){_bias(chance, states, 'b3', 'd_v')}"
    return states, chance.choice((answer, answer, f"layer_norm({answer})", f"0.5 * layer_norm({answer}) + W3 @ ({hidden})"))


def _bias(chance: Random, states: dict[str, str], name: str, size: str) -> str:
    if chance.random() < 0.5:
        return ""
    states[name] = size
    return f" + {name}"


def attention_spec(seed: int) -> str:
    """A mean of the values of a window, weighed by how near keys are to the query."""
    chance = Random(seed)
    value, read = chance.choice(("v", "tanh(v)", "beta * v")), chance.choice(("attention", "tanh(attention)", "beta * attention + v"))
    return ATTENTION.format(window=chance.choice(WINDOWS), kernel=chance.choice(KERNELS), value=value, read=read)
