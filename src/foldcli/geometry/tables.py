"""Constants as tensors, moved to each device once: a GPU would be waited for each time."""

import torch

from foldcli.shapes import Tensor

Key = tuple[object, torch.device, torch.dtype]
_made: dict[Key, tuple[object, Tensor]] = {}


def constant(values: object, like: Tensor) -> Tensor:
    """Values as a tensor with dtype and device of `like`; integer tables stay integers.

    values: a tuple, or a table of a module, known by its identity; neither it nor the tensor may be changed.
    """
    if torch.compiler.is_compiling() or type(like) is not Tensor:
        return _tensor(values, like)  # traced: real tensors do not belong there, nor fake ones here
    key = values if isinstance(values, tuple) else id(values), like.device, like.dtype
    if key not in _made:
        with torch.inference_mode(False):  # it may serve training too
            _made[key] = values, _tensor(values, like)
    return _made[key][1]


def _tensor(values: object, like: Tensor) -> Tensor:
    found = torch.as_tensor(values, device=like.device)
    return found.to(like.dtype) if found.is_floating_point() else found
