"""All that the doctor looks at, in order."""

from collections.abc import Callable, Iterator
from functools import partial

from foldcli.doctor import devices, installed_data, machine
from foldcli.doctor.finding import Finding
from foldcli.errors import FoldcliError

Check = Callable[[], Iterator[Finding]]


def examine(sums: bool = False) -> Iterator[Finding]:
    """Findings as they are made; what only torch can tell is left out where it is broken.

    sums: compare the parameters with their recorded sums, which reads every byte of them.
    """
    yield from machine.interpreter()
    yield from machine.processor()
    torch = list(devices.torch_build())
    yield from torch
    needs_torch: dict[str, Check] = {
        "GPU": devices.gpus,
        "kernels": devices.kernels,
        "memory": machine.memory,
        "parameters": partial(installed_data.weights, sums),
        "known folds": installed_data.library,
    }
    for what, check in needs_torch.items() if not torch[0].broken else ():
        yield from _guarded(what, check)
    yield from machine.disks()
    yield from installed_data.tools()


def _guarded(what: str, check: Check) -> Iterator[Finding]:
    """What a check finds, and what ends it: that would end a fold as well."""
    try:
        yield from check()
    except FoldcliError as error:
        yield Finding(what, "does not work", str(error), broken=True)
    except Exception as error:  # of torch, Triton or a compiler, and as such what a fold would end with
        text = " ".join(str(error).split())
        yield Finding(what, "does not work", f"{type(error).__name__}: {text}", broken=True)
