"""The import lines of a module: of the names that its parts take from it, and of no others."""

from __future__ import annotations

import pytest

from nlc.emit.imports import imports

MEMORY = """\
class Memory(nn.Module):
    def walk(self, read: Callable[[Any], Tensor]) -> Iterator[Tensor]:
        yield copy.copy(read(math.pi))
"""
FUNCTION = "def mean(x: Tensor) -> Tensor:\n    return {body}"


def test_a_group_for_the_library_and_one_for_torch_each_in_the_order_of_its_lines() -> None:
    assert imports([MEMORY]) == (
        "import copy",
        "import math",
        "from collections.abc import Callable, Iterator",
        "from typing import Any",
        "",
        "from torch import Tensor, nn",
    )


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        ("x.mean()", ("from torch import Tensor",)),
        ("torch.mean(x)", ("import torch", "from torch import Tensor")),
        ("x.checkpoint(x.math)", ("from torch import Tensor",)),
        ("[math for math in x][0]", ("from torch import Tensor",)),
        ("(lambda: checkpoint(mean, x))()", ("from torch import Tensor", "from torch.utils.checkpoint import checkpoint")),
    ],
)
def test_only_what_no_scope_makes_is_imported(body: str, lines: tuple[str, ...]) -> None:
    assert imports([FUNCTION.format(body=body)]) == lines
