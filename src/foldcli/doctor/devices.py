"""torch, the GPUs that it sees, and the Triton kernels."""

import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from foldcli.byte_units import GIB
from foldcli.doctor.finding import Finding
from foldcli.errors import first_line

OLDEST_TORCH = "2.9"
CPU_INSTEAD = "until that is mended, --device cpu folds without it"


def torch_build() -> Iterator[Finding]:
    """torch's version and build; broken where it cannot be imported or is too old."""
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a shared library of torch that cannot be loaded
        yield Finding("torch", first_line(error), f"pip install 'torch>={OLDEST_TORCH}'", broken=True)
        return
    built = f"CUDA {torch.version.cuda}" if torch.version.cuda else f"ROCm {torch.version.hip}"
    built = built if torch.version.cuda or torch.version.hip else "no CUDA"
    found = f"{torch.__version__} ({built}); CPU threads: {torch.get_num_threads()}, "
    found += torch.backends.cpu.get_cpu_capability()
    old = torch.__version__ < OLDEST_TORCH  # TorchVersion compares as a version, not as text
    yield Finding("torch", found, f"pip install 'torch>={OLDEST_TORCH}'" if old else "", broken=old)


@dataclass(frozen=True)
class Listed:
    """A GPU as nvidia-smi lists it, whether torch sees it or not."""

    name: str
    driver: str
    mig: str


def gpus() -> Iterator[Finding]:
    """Every GPU that torch sees, and whether it computes correctly; where there is none, why."""
    import torch

    listed = _listed()
    with warnings.catch_warnings():  # a driver that is too old is reported below
        warnings.simplefilter("ignore")
        seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not seen:
        found = "; ".join(f"{gpu.name}, driver {gpu.driver}, unseen by torch" for gpu in listed) or "none"
        yield Finding("GPU", found, _why_unseen(listed))
    for index in range(seen):
        yield _gpu(index, listed[0].driver if listed else "unknown")


def _listed() -> list[Listed]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    query = [program, "--query-gpu=name,driver_version,mig.mode.current", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    fields = (line.split(", ") for line in answer.splitlines())
    return [Listed(*values) for values in fields if len(values) == 3]


def _why_unseen(listed: list[Listed]) -> str:
    import torch

    if not listed:
        return "folding runs on the CPU; a GPU needs NVIDIA's driver and a CUDA build of torch"
    if torch.version.cuda is None:
        return "this torch is built without CUDA: install a CUDA build (pytorch.org says how)"
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return f"CUDA_VISIBLE_DEVICES={visible} hides it: unset that, or name the device"
    if any(gpu.mig == "Enabled" for gpu in listed):
        return "MIG is on and has no instance for you: make one with nvidia-smi mig, or ask for one"
    try:
        torch.cuda.init()
    except RuntimeError as error:
        return f"torch cannot use it: {first_line(error)}"
    return "torch cannot use it, and does not say why: is a CUDA library missing?"


def _gpu(index: int, driver: str) -> Finding:
    import torch

    from foldcli.doctor.capacity import longest_fold

    what = f"GPU {index}"
    try:
        device = torch.device("cuda", index)
        properties = torch.cuda.get_device_properties(device)
        free, total = torch.cuda.mem_get_info(device)
        ones = torch.ones(64, 64, device=device, dtype=torch.bfloat16)
        computes = float((ones @ ones).sum()) == 64**3
    except RuntimeError as error:
        return Finding(what, first_line(error), CPU_INSTEAD, broken=True)
    kind = f"{properties.name}{', a MIG instance' if 'MIG' in properties.name else ''}, driver {driver}"
    found = f"{kind}, compute capability {properties.major}.{properties.minor}, "
    found += f"{free / GIB:.1f} of {total / GIB:.1f} GiB free; {longest_fold(free, 2)}"
    return Finding(what, found, "" if computes else f"its products are wrong; {CPU_INSTEAD}", broken=not computes)


def kernels() -> Iterator[Finding]:
    """Whether Triton and the kernels can be imported, and one runs if FOLDCLI_BACKEND and the device allow it."""
    import torch
    import torch.nn.functional as F

    from foldcli.devices import choose_device
    from foldcli.ops.dense import layer_norm
    from foldcli.ops.dispatch import chosen, obstacle_on
    from foldcli.ops.installation import kernel_import_error

    missing = kernel_import_error()
    device = choose_device("auto")
    x, scale = torch.linspace(-1, 1, 512, device=device).view(4, 128), torch.ones(128, device=device)
    ran = layer_norm(x, (scale, scale))  # raises if FOLDCLI_BACKEND=triton and it cannot run
    if not torch.allclose(ran, F.layer_norm(x, (128,), scale, scale), atol=1e-4):
        raise ArithmeticError("layer norm differs from plain PyTorch; FOLDCLI_BACKEND=reference folds without kernels")
    why = "FOLDCLI_BACKEND=reference" if chosen() == "reference" else ""
    why = why or missing or (obstacle_on(device, x.dtype, forced=False) if chosen() == "auto" else "")
    used = f"not used: {why}" if why else f"layer norm ran on {device.type}, as it should"
    on_linux = sys.platform == "linux"
    yield Finding("kernels", used, "pip install triton" if missing and on_linux else "")
