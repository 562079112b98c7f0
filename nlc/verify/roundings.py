"""A computation -> the same with each result of an operation rounded otherwise: Monte Carlo arithmetic, as a mode of torch.

Moving the inputs of a computation by a rounding says nothing where what follows forgets them: of `layer_norm(sign(v))` the mean of equal
numbers is left, which is exactly zero or a rounding, and `sign` makes 1 of that. (Parker, Monte Carlo Arithmetic, 1997: random rounding.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class RoundedOtherwise(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Every floating-point result becomes, by chance, the next number nearer to zero; zeros, views and arguments stay what they are."""

    def __init__(self, seed: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._generator = torch.Generator().manual_seed(seed)

    def __torch_dispatch__(
        self, operation: OpOverload, types: object, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        results = operation(*args, **(kwargs or {}))
        is_new = all(item.alias_info is None for item in operation._schema.returns)
        for result in tree_leaves(results) if is_new else ():
            if isinstance(result, Tensor) and result.is_floating_point() and not (result.is_meta or result._is_zerotensor()):
                is_moved = torch.rand(result.shape, generator=self._generator) < 0.5
                result.copy_(torch.where(is_moved, torch.nextafter(result, torch.zeros((), dtype=result.dtype)), result))
        return results
