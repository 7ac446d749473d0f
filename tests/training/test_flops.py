"""The ceiling that a run is compared with is measured on numbers like a model's."""

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from foldcli.training.flops import peak_flops


class Products(TorchFunctionMode):
    """Keeps how many different numbers the first factor of each product has."""

    def __init__(self) -> None:
        super().__init__()
        self.different: list[int] = []

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(function, "__name__", "") in ("matmul", "__matmul__"):
            self.different.append(len(args[0].unique()))
        return function(*args, **(kwargs or {}))


def test_random_numbers_are_multiplied() -> None:
    with Products() as products:
        assert peak_flops(torch.device("cpu"), torch.float32, size=16) > 0
    assert len(products.different) == 5 and min(products.different) > 200
