"""Specs of levels that are solved over a window, as texts: one that each form fits, and for each condition one that violates it alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from nlc import pipeline
from nlc.ir.law import Laws
from nlc.ir.model import Model

HEAD = """nlc: 1
name: System
dims: {d: 4}
inputs: {q: [d], k: [d], v: [d], p: [d], beta: {shape: [], range: [0, 1]}}
"""
ATTENTION = """
  memory:
    memory: vector(d)
    window: all
    objective: exp(dot(k, now(q))) * norm2(v - memory)
    optimizer: closed_form
    every: always
"""
OTHER = """
  other:
    memory: matrix(d, d)
    keys: k
    values: v
    objective: l2
    optimizer: gradient_descent(beta)
    every: token
"""


def model_of_text(levels: str, output: str = "memory") -> Model:
    """Some levels around the streams q, k, v, p and beta."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "system.yaml"
        path.write_text(f"{HEAD}levels:{levels}outputs:\n  y: {output}\n")
        return pipeline.resolve(pipeline.parse(path))


def laws_of_text(levels: str, output: str = "memory") -> Laws:
    """The laws of such levels."""
    return pipeline.derive(pipeline.order(model_of_text(levels, output)))


def attention() -> Laws:
    """A softmax of dot products."""
    return laws_of_text(ATTENTION)


def attention_model() -> Model:
    """The model of the same."""
    return model_of_text(ATTENTION)


def gaussian() -> Laws:
    """Other weights."""
    return laws_of_text(ATTENTION.replace("dot(k, now(q))", "-norm2(k - now(q))"))


def memory() -> Laws:
    """A level that takes steps from an old state."""
    return laws_of_text(OTHER.replace("other", "memory"), "memory(q)")


def matrix() -> Laws:
    """What is averaged are matrices, which are read at a vector."""
    return laws_of_text(ATTENTION.replace("vector(d)", "matrix(d, d)").replace("v - memory", "outer(v, k) - memory"), "memory @ p")


def with_period() -> Laws:
    """Beside it a level moves every four tokens."""
    return laws_of_text(ATTENTION + OTHER.replace("every: token", "every: 4 tokens"), "memory + other(q)")


def beside_a_late_start() -> Laws:
    """Beside it a level starts from the first token's stream."""
    return laws_of_text(ATTENTION + OTHER + "    init: outer(v, k)\n", "memory + other(q)")


def in_a_cycle() -> Laws:
    """The memory writes what attention says, which asks the memory."""
    asking = ATTENTION.replace("now(q)", "now(other(q))")
    return laws_of_text(asking + OTHER.replace("values: v", "values: memory"))


FITTING: Mapping[str, Callable[[], Laws]] = {"attention": attention, "window-table": gaussian}
SHARED: Mapping[str, Callable[[], Laws]] = {
    "a system without periods": with_period,
    "starts that are known where a sequence or a block of it begins": beside_a_late_start,
    "no cycle of reads with other memories": in_a_cycle,
}
WITNESSES: Mapping[str, Mapping[str, Callable[[], Laws]]] = {
    "attention": {
        "a level that is solved anew for every query": memory,
        "weights that are a softmax of scaled dot products, of a datum and a query, and a vector to average": gaussian,
        **SHARED,
    },
    "window-table": {
        "a level that is solved anew for every query": memory,
        "a vector that is solved for": matrix,
        **SHARED,
    },
}
"""For every condition of the two forms, laws that violate it alone."""
