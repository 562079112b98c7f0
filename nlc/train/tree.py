"""Nested values (states, optimizers' states) <-> flat named tensors and a skeleton that JSON can hold; nothing is ever pickled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

Tree = Any
"""A tensor, None, a number, a text, or a list, tuple or dict of trees."""

TENSOR, DICT, LIST, TUPLE = "tensor", "dict", "list", "tuple"


def leaves(tree: Tree, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor with its path of keys, joined by dots."""
    if isinstance(tree, Tensor):
        yield name, tree
    elif isinstance(tree, dict):
        for key, value in tree.items():
            yield from leaves(value, f"{name}.{key}" if name else str(key))
    elif isinstance(tree, list | tuple):
        for number, value in enumerate(tree):
            yield from leaves(value, f"{name}.{number}" if name else str(number))


def map_tensors(change: Callable[[Tensor], Tensor], tree: Tree) -> Tree:
    """The same tree with every tensor changed."""
    if isinstance(tree, Tensor):
        return change(tree)
    if isinstance(tree, dict):
        return {key: map_tensors(change, value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(map_tensors(change, value) for value in tree)
    return tree


def detached(tree: Tree) -> Tree:
    """The same values without the graph that made them."""
    return map_tensors(Tensor.detach, tree)


def packed(tree: Tree) -> tuple[Any, dict[str, Tensor]]:
    """A skeleton of what JSON can hold, and the tensors by their paths, each with storage of its own."""
    tensors: dict[str, Tensor] = {}
    skeleton = _packed(tree, "", tensors)
    seen: set[int] = set()
    for name, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        if place in seen or not tensor.is_contiguous():
            tensors[name] = tensor.clone(memory_format=torch.contiguous_format)
        seen.add(place)
    return skeleton, tensors


def _packed(tree: Tree, name: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(tree, Tensor):
        tensors[name] = tree.detach()
        return {TENSOR: name}
    if isinstance(tree, dict):
        return {DICT: [[key, _packed(value, f"{name}.{key}" if name else str(key), tensors)] for key, value in tree.items()]}
    if isinstance(tree, list | tuple):
        items = [_packed(value, f"{name}.{number}" if name else str(number), tensors) for number, value in enumerate(tree)]
        return {TUPLE if isinstance(tree, tuple) else LIST: items}
    if tree is None or isinstance(tree, bool | int | float | str):
        return tree
    raise TypeError(f"a {type(tree).__name__} cannot be kept in a checkpoint")


def unpacked(skeleton: Any, tensors: Mapping[str, Tensor]) -> Tree:
    """The tree that `packed` took apart."""
    if not isinstance(skeleton, dict):
        return skeleton
    ((kind, content),) = skeleton.items()
    if kind == TENSOR:
        return tensors[content]
    if kind == DICT:
        return {key: unpacked(value, tensors) for key, value in content}
    items = [unpacked(value, tensors) for value in content]
    return tuple(items) if kind == TUPLE else items
