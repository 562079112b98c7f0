"""What torch finds on this machine, for `nlc doctor` and for reports."""

from __future__ import annotations

from collections.abc import Iterator


def torch_facts() -> Iterator[tuple[str, str, bool]]:
    """Name, finding, and whether nlc can work with it."""
    try:
        import torch
    except ImportError as error:
        yield "torch import", f"failed: {error}", False
        return
    yield "device", f"cuda ({torch.cuda.get_device_name()})" if torch.cuda.is_available() else "cpu", True
    yield "threads", str(torch.get_num_threads()), True
    yield "state precision", "float32 or wider, whatever the inputs", True
