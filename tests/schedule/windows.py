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


def model_of_text(levels: str, output: str = "memory", head: str = HEAD) -> Model:
    """Some levels around the streams q, k, v, p and beta."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "system.yaml"
        path.write_text(f"{head}levels:{levels}outputs:\n  y: {output}\n")
        return pipeline.resolve(pipeline.parse(path))


def laws_of_text(levels: str, output: str = "memory", head: str = HEAD) -> Laws:
    """The laws of such levels."""
    return pipeline.derive(pipeline.order(model_of_text(levels, output, head)))


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


EVERY_FOUR = OTHER.replace("every: token", "every: 4 tokens")


def with_period() -> Laws:
    """Beside it a level moves every four tokens."""
    return laws_of_text(ATTENTION + EVERY_FOUR, "memory + other(q)")


def of_pairs_that_slide() -> Laws:
    """Two pairs a token, of the last three."""
    pairs = "exp(dot(k, now(q))) * norm2(v - memory) + exp(dot(p, now(q))) * norm2(v - memory)"
    return laws_of_text(ATTENTION.replace("exp(dot(k, now(q))) * norm2(v - memory)", pairs).replace("window: all", "window: 3 tokens"))


def sliding_beside_a_period() -> Laws:
    """Its window slides while a level moves every four tokens."""
    return laws_of_text(ATTENTION.replace("window: all", "window: 3 tokens") + EVERY_FOUR, "memory + other(q)")


def turned_beside_a_period() -> Laws:
    """Its queries are turned by their places, while a level moves every four tokens."""
    return laws_of_text(ATTENTION.replace("now(q)", "now(rotary(q))") + EVERY_FOUR, "memory + other(q)")


def heard_across_heads() -> Laws:
    """A level that moves every four tokens is written what attention says in all heads."""
    head = HEAD.replace("{d: 4}", "{heads: 2, d: 4}\naxes: [heads]").replace("{q:", "{x: {shape: [heads * d], axes: []}, q:")
    other = EVERY_FOUR.replace("values: v", "values: split(join(memory, heads), heads)")
    return laws_of_text(ATTENTION + other, "memory + other(q)", head)


def beside_a_late_start() -> Laws:
    """Beside it a level starts from the first token's stream."""
    return laws_of_text(ATTENTION + OTHER + "    init: outer(v, k)\n", "memory + other(q)")


def in_a_cycle() -> Laws:
    """The memory writes what attention says, which asks the memory."""
    asking = ATTENTION.replace("now(q)", "now(other(q))")
    return laws_of_text(asking + OTHER.replace("values: v", "values: memory"))


FITTING: Mapping[str, Callable[[], Laws]] = {"attention": attention, "window-table": gaussian}
SHARED: Mapping[str, Callable[[], Laws]] = {
    "starts that are known where a sequence or a block of it begins": beside_a_late_start,
    "no cycle of reads with other memories": in_a_cycle,
}
WITNESSES: Mapping[str, Mapping[str, Callable[[], Laws]]] = {
    "attention": {
        "a level that is solved anew for every query": memory,
        "weights that are a softmax of scaled dot products, of a datum and a query, and a vector to average": gaussian,
        "a window of all tokens, so far or since a reset, or one that slides, of one pair a token": of_pairs_that_slide,
        "a system without periods, or data that blocks add to": sliding_beside_a_period,
        "blocks in which every copy along an axis is alone": heard_across_heads,
        "a law that is the same at every token": turned_beside_a_period,
        **SHARED,
    },
    "window-table": {
        "a level that is solved anew for every query": memory,
        "a vector that is solved for": matrix,
        "a system without periods": with_period,
        **SHARED,
    },
}
"""For every condition of the two forms, laws that violate it alone."""
