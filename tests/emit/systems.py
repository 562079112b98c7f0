"""Programs to emit: those of tests/models.py, and whole specs that use the language's odd corners."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from nlc import pipeline
from nlc.emit import emit_module
from nlc.ir.model import Model
from nlc.ir.program import Program
from nlc.verify.load import load_source

Tensors = dict[str, Tensor]

NORMALISED = """
nlc: 1
name: Normalised
dims: {heads: 2, d_model: 8, d_k: d_model / heads, d_v: 5}
axes: [heads]
hyperparameters: {training: 0.9, temperature: 2}
inputs:
  batch: {shape: [d_k], axes: []}
  time: {shape: [d_k]}
  dtype: [d_v]
  x: {shape: [], axes: []}
  heads_gate: []
let:
  direction: batch / (norm(batch) + 0.1)
levels:
  memory:
    memory: matrix(d_v, d_k)
    keys: direction
    values: dtype
    objective: 0.5 * norm2(memory(key) - value)
    retention: sigmoid(heads_gate * temperature + x)
    optimizer: gradient_descent(training * sigmoid(x))
    every: token
  norms:
    memory: vector(d_k)
    objective: -dot(norms, direction)
    retention: training
    optimizer: gradient_descent(1)
    every: token
outputs:
  y: memory(time) / (dot(norms, time) ** 2 + 1)
  before: prev(memory)(time) + prev(memory)(batch)
  plain: 2 * x
"""
"""Inputs without the axis, inputs called like the template's own variables, several memories and outputs, a derived dim."""

CHAINED = """
nlc: 1
name: Chained
dims: {d_k: 4, d_v: 5}
inputs: {q: [d_k], k: [d_k], v: [d_v], p: [d_k], a: []}
levels:
  first:
    memory: matrix(d_v, d_k)
    objective: dot(first(k), stop_gradient(a * (first(p) - v)))
    retention: 0.95
    optimizer: gradient_descent(1)
    every: token
  second:
    memory: matrix(d_v, d_v)
    keys: prev(first)(q)
    values: v
    objective: dot
    optimizer: gradient_descent(0.5)
    every: token
  third:
    memory: matrix(d_v, d_k)
    objective: -dot(third(k), v) - dot(third(p), prev(second)(v))
    optimizer: gradient_descent(a)
    every: token
outputs: {y: second(first(q)) + third(q)}
"""
"""No axes; reads and writes along different vectors, a memory that reads an earlier one, two writes a token, a constant decay."""

CHANNELS = """
nlc: 1
name: Channels
dims: {d_k: 4, d_v: 5}
axes: [heads]
inputs: {q: [d_k], k: [d_k], v: [d_v], p: [d_k], alpha: {shape: [d_k], range: [0, 1]}, gate: {shape: [d_v], axes: []}, a: []}
levels:
  corrected:
    memory: matrix(d_v, d_k)
    keys: k
    values: v
    objective: 0.5 * norm2(prediction - value)
    retention: sigmoid(alpha)
    gradient_at: retained
    optimizer: gradient_descent(a)
    every: token
  trace:
    memory: vector(d_v)
    objective: -dot(trace, v)
    retention: sigmoid(gate)
    optimizer: gradient_descent(1)
    every: token
  twice:
    memory: matrix(d_v, d_k)
    objective: -dot(twice(k), v) - dot(twice(p), prev(trace))
    retention: sigmoid(a * alpha) * 0.9
    optimizer: gradient_descent(a)
    every: token
outputs:
  y: corrected(q) + twice(q) + trace
  before: prev(corrected)(p) + prev(twice)(p)
"""
"""Decays for each channel: a write that reads the retained state, two writes, reads before and after them, and a vector."""

NONLINEAR = """
nlc: 1
name: Nonlinear
dims: {d_k: 4, d_v: 5}
axes: [heads]
inputs: {q: [d_k], k: [d_k], v: [d_v], a: []}
levels:
  memory:
    memory: matrix(d_v, d_k)
    keys: k
    values: v
    objective: sum(log(cosh(prediction - value)))
    retention: 1 - 0.1 * a
    optimizer: gradient_descent(a)
    every: token
  bias:
    memory: vector(d_v)
    objective: 0.5 * norm2(bias + memory(q) - v)
    optimizer: gradient_descent(0.1)
    every: token
outputs:
  y: softmax(memory(q) + bias, over = d_v)
  z: where(norm(memory(q)) < 1, a, maximum(a, 0.5))
"""
"""A system without a parallel form."""

NETWORKED = """
nlc: 1
name: Networked
dims: {d_k: 4, d_hidden: 6, d_v: 5}
axes: [heads]
inputs: {q: [d_k], k: [d_k], v: [d_v], a: []}
levels:
  deep:
    memory: mlp(d_k, d_hidden, 3, d_v, activation = sigmoid)
    keys: k
    values: v
    objective: l2
    retention: 1 - 0.5 * a
    gradient_at: retained
    optimizer: momentum(learning_rate = 0.1 * a, decay = 0.5)
    every: token
outputs: {y: deep(q), z: prev(deep)(k) + deep(k)}
"""
"""A memory of several tensors, with an optimizer that has as many."""

CLIPPED = """
nlc: 1
name: Clipped
kind: optimizer
inputs: {gradient: like(weights)}
hyperparameters: {learning_rate: 0.1, decay: 0.9, bound: 1, small: 1e-3}
levels:
  momentum:
    memory: like(weights)
    objective: -inner(momentum, gradient)
    retention: decay
    optimizer: gradient_descent(minimum(1, bound / (sqrt(inner(gradient, gradient)) + small)))
    every: step
  scale:
    memory: like(weights)
    objective: 0.5 * norm2(scale - gradient ** 2)
    optimizer: gradient_descent(1 - decay)
    every: step
  weights:
    objective: inner(weights, momentum / (sqrt(scale) + small))
    retention: 1 - learning_rate * 0.01
    optimizer: gradient_descent(learning_rate)
    every: step
"""
"""An optimizer that needs a sum over its group and elementwise functions."""

COUPLED = """
nlc: 1
name: Coupled
dims: {d_k: 4, d_v: 5}
axes: [heads]
hyperparameters: {keep: 0.9}
inputs: {q: [d_k], k: [d_k], v: [d_v], p: [d_k], a: [], query_1: {shape: [], axes: []}}
levels:
  left:
    memory: matrix(d_v, d_k)
    keys: k
    values: v - prev(right)(k) - prev(right)(p)
    objective: l2
    retention: sigmoid(a)
    optimizer: gradient_descent(query_1)
    every: token
  right:
    memory: matrix(d_v, d_k)
    objective: -dot(right(p), v - left(q))
    retention: 0.5 * a
    optimizer: gradient_descent(1)
    every: token
  twice:
    memory: matrix(d_v, d_k)
    objective: 0.5 * norm2(twice(k) - v) - dot(twice(p), v)
    retention: keep
    optimizer: gradient_descent(0.5)
    every: token
  average:
    memory: vector(d_v)
    objective: 0.5 * norm2(average - v - prev(trace))
    optimizer: gradient_descent(a / 2)
    every: token
  trace:
    memory: vector(d_v)
    objective: 0.5 * norm2(trace - average)
    optimizer: gradient_descent(0.25)
    every: token
outputs:
  y: left(q) + right(p) + twice(q) + average
  before: prev(left)(q) + prev(twice)(q) + prev(trace) + twice(k)
"""
"""Memories that read each other before and after they move, at the same vectors and at others; two writes a token, of which one reads."""

NUMBERS = """
nlc: 1
name: Numbers
dims: {d_k: 4, d_v: 5}
axes: [heads]
inputs: {q: [d_k], k: [d_k], v: [d_v], a: []}
levels:
  length:
    memory: scalar
    objective: -length * norm2(k)
    retention: sigmoid(a)
    optimizer: gradient_descent(1)
    every: token
  memory:
    memory: matrix(d_v, d_k)
    objective: 0.5 * norm2(memory(k) - v)
    optimizer: gradient_descent(a / (1 + length))
    every: token
  error:
    memory: scalar
    objective: 0.5 * norm2(error - norm2(prev(memory)(k) - v))
    optimizer: momentum(learning_rate = 0.1, decay = 0.5)
    every: token
outputs:
  y: memory(q) / (1 + length)
  told: error - 2 * prev(length)
"""
"""Levels that are one number: alone, with a momentum, in the rate of another level, and fitted to what another level says."""

ERASED = """
nlc: 1
name: Erased
dims: {d_k: 4, d_v: 5}
axes: [heads]
inputs: {q: [d_k], k: [d_k], v: [d_v], p: [d_k], r: [d_k], alpha: {shape: [d_k], range: [0, 1]}, a: []}
levels:
  memory:
    memory: matrix(d_v, d_k)
    objective: 0.5 * norm2(memory(k) - v) + 0.5 * norm2(memory(p) + v) - dot(memory(q), v) - a * dot(memory(r), v)
    retention: sigmoid(alpha)
    optimizer: gradient_descent(a)
    every: token
outputs:
  y: memory(q) + prev(memory)(p)
  z: memory(r)
"""
"""Four writes a token and decays for each channel: two writes read the old state, two are known before it."""

ODD = (NORMALISED, CHAINED, CHANNELS, NONLINEAR, NETWORKED, COUPLED, NUMBERS, ERASED)


def program_of(model: Model) -> Program:
    """The program of a model built by hand."""
    return pipeline.schedule(pipeline.derive(pipeline.order(model)))


@cache
def program_from(text: str) -> Program:
    """The program of a spec's text."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "spec.yaml"
        path.write_text(text)
        return pipeline.compile_program(path)


@cache
def emitted_class(program: Program) -> Callable[..., Any]:
    """The class of a program's emitted module."""
    name = program.model.name
    emitted: Callable[..., Any] = getattr(load_source(emit_module(program), name), name)
    return emitted


def inputs_of(
    program: Program, sizes: dict[str, int], *, batch: int = 2, tokens: int = 5, dtype: torch.dtype = torch.float64, seed: int = 0
) -> Tensors:
    """Streams (batch, time, *own axes, *shape): vectors of about length 1, scalars in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    streams: Tensors = {}
    for stream in program.model.inputs:
        shape = tuple(dim.size(sizes) for dim in stream.shape)
        size = (batch, tokens, *(sizes[axis] for axis in stream.axes), *shape)
        drawn = torch.randn(size, generator=generator, dtype=torch.float64) if shape else torch.rand(size, generator=generator).double()
        streams[stream.name] = (drawn / max(1, *shape) ** 0.5 if shape else drawn).to(dtype)
    return streams


def sizes_of(program: Program, **chosen: int) -> dict[str, int]:
    """Sizes of all dims and axes: small, or as chosen."""
    sizes = {"heads": 2, **{item.name: item.default for item in program.model.dims if item.definition is None}, **chosen}
    for item in program.model.dims:
        if item.definition is not None:
            sizes[item.name] = item.definition.size(sizes)
    return sizes
