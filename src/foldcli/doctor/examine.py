"""All checks, in the order of the table."""

from collections.abc import Callable, Iterator
from functools import partial

from foldcli.doctor import devices, installed_data, machine
from foldcli.doctor.finding import Finding
from foldcli.errors import FoldcliError

Check = Callable[[], Iterator[Finding]]


def examine(sums: bool = False) -> Iterator[Finding]:
    """Yield findings as they are made; without a working torch, the checks that need it are left out.

    sums: whether to compare parameter files with their recorded SHA-256, which reads every byte of them.
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
        "structure library": installed_data.library,
    }
    for what, check in needs_torch.items() if not torch[0].broken else ():
        yield from _guarded(what, check)
    yield from machine.disks()
    yield from installed_data.tools()


def _guarded(what: str, check: Check) -> Iterator[Finding]:
    """The findings of a check, and the error that ends it, if any: it would end a fold as well."""
    try:
        yield from check()
    except FoldcliError as error:
        yield Finding(what, "does not work", str(error), broken=True)
    except Exception as error:  # from torch, Triton or a compiler: a fold would end with it
        text = " ".join(str(error).split())
        yield Finding(what, "does not work", f"{type(error).__name__}: {text}", broken=True)
