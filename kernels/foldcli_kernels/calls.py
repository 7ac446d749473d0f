"""Operators of torch that are called as plain functions wherever torch would add nothing but host time."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter


class Operator:
    """An operator of torch, "foldcli::NAME", and the function behind it, which is called itself where that does.

    The operator is there for gradients and for what traces: FakeTensor, torch.compile, counters of FLOPs. Its wrapper
    takes longer than a small kernel, and its first call imports all of torch._dynamo, about two seconds.
    """

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.function = function
        self.defined = torch.library.custom_op(f"foldcli::{name}", mutates_args=())(function)
        self.register_fake = self.defined.register_fake
        self.register_autograd = self.defined.register_autograd

    def __call__(self, *args: Any) -> Any:
        if torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack() or not _plain(args):
            return self.defined(*args)
        return self.function(*args)


def operator(name: str) -> Callable[[Callable[..., Any]], Operator]:
    """Make a function an operator of torch."""
    return lambda function: Operator(name, function)


def _plain(args: Iterable[Any]) -> bool:
    """Say whether all tensors are torch's own and none wants a gradient."""
    for arg in args:
        if isinstance(arg, list):
            if not _plain(arg):
                return False
        elif isinstance(arg, Tensor):
            if type(arg) is not Tensor and type(arg) is not Parameter:
                return False
            if arg.requires_grad and torch.is_grad_enabled():
                return False
    return True
