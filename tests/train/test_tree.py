from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor

from nlc.train.tree import Tree, detached, leaves, packed, unpacked

TREE: Tree = {
    "network": {"a.weight": torch.arange(6.0).view(2, 3), "empty": torch.empty(0, 4)},
    "levels": [{"state": {0: {"momentum": torch.ones(2, dtype=torch.bfloat16), "step": 7}}, "groups": [{"lr": 0.25, "on": True}]}, None],
    "carried": ({"memory": torch.tensor(3), "phase": 2}, None),
    "text": "words",
}


def same(one: Tree, other: Tree) -> bool:
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return type(other) is dict and list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and bool(one == other)


def test_what_was_packed_comes_back() -> None:
    skeleton, tensors = packed(TREE)
    assert same(unpacked(json.loads(json.dumps(skeleton)), tensors), TREE)
    assert set(tensors) == {name for name, _ in leaves(TREE)}


def test_views_and_shared_tensors_get_storage_of_their_own() -> None:
    base = torch.arange(6.0).view(2, 3)
    _, tensors = packed([base, base, base.T, base[0]])
    assert len({tensor.untyped_storage().data_ptr() for tensor in tensors.values()}) == 4
    assert all(tensor.is_contiguous() for tensor in tensors.values())
    assert torch.equal(tensors["2"], base.T)


def test_what_json_cannot_hold_is_refused() -> None:
    with pytest.raises(TypeError, match="a set cannot be kept in a checkpoint"):
        packed({"state": {1, 2}})


def test_detached_values_have_no_graph() -> None:
    x = torch.ones(2, requires_grad=True) * 2
    assert not detached({"a": [x]})["a"][0].requires_grad and x.requires_grad
