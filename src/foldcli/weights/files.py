"""Reading and writing parameter files: npz, safetensors and torch checkpoints; none can run code when read."""

import hashlib
import pickle
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from foldcli.errors import WeightsError, first_line
from foldcli.files import atomic

if TYPE_CHECKING:
    from torch import Tensor

Progress = Callable[[int, int | None], None]  # bytes done, and the total if known

TORCH_SUFFIXES: Final = (".pt", ".ckpt")  # OpenFold's and Lightning's; both are torch checkpoints
BEST, LAST = "best.safetensors", "last.safetensors"  # of a training run
BLOCK = 1 << 20
MAKE_ROOM = "make room, or set FOLDCLI_HOME to a folder on another disk"


class DamagedError(WeightsError):
    """A file that is truncated, changed or of another kind; the message ends with how to get an intact one."""

    def __init__(self, reason: str) -> None:
        way_out = "`foldcli weights download` gets it again, `foldcli weights import PATH` takes a sound copy"
        super().__init__(f"{reason}; {way_out}")


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file by name, read without pickle.

    WeightsError: no such file, unreadable, truncated, not an npz, or an entry that is not an array of numbers.
    """
    _require_file(path)
    arrays: dict[str, NDArray[Any]] = {}
    key = ""
    try:
        with zipfile.ZipFile(path) as archive:
            for key in archive.namelist():
                with archive.open(key) as entry:
                    arrays[key.removesuffix(".npy")] = np.lib.format.read_array(entry, allow_pickle=False)
                    entry.read()  # zipfile compares the checksum at the end of the entry
    except MemoryError as error:
        raise WeightsError(f"{path}: '{key}' does not fit into memory; free some, or import a sound copy") from error
    except Exception as error:  # a damaged header can raise anything
        raise _npz_error(path, key, error) from error
    for key, array in arrays.items():
        if array.dtype.kind not in "fiub":
            raise DamagedError(f"{path}: '{key}' holds {array.dtype}, not numbers")
    if not arrays:
        raise DamagedError(f"{path}: holds no arrays")
    return arrays


def _npz_error(path: Path, key: str, error: Exception) -> WeightsError:
    if isinstance(error, OSError):
        return WeightsError(f"{path}: cannot be read ({first_line(error)})")
    if "allow_pickle" in str(error):
        return DamagedError(f"{path}: '{key}' holds pickled Python objects, which are never loaded")
    if key:
        return DamagedError(f"{path}: damaged at '{key}' ({first_line(error)})")
    with path.open("rb") as handle:
        started = handle.read(4) == b"PK\x03\x04"
    return DamagedError(f"{path}: {'truncated' if started else 'not an npz file'}")


def read_safetensors(path: Path) -> "dict[str, Tensor]":
    """The tensors of a .safetensors file; WeightsError if it is missing, truncated or of another kind."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    _require_file(path)
    try:
        return load_file(path)
    except (OSError, ValueError, SafetensorError) as error:
        raise DamagedError(f"{path}: not a safetensors file, or truncated ({first_line(error)})") from error


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata of a .safetensors file; errors as of `read_safetensors`."""
    from safetensors import SafetensorError, safe_open

    _require_file(path)
    try:
        with safe_open(path, framework="pt") as handle:
            return handle.metadata() or {}
    except (OSError, ValueError, SafetensorError) as error:
        raise DamagedError(f"{path}: not a safetensors file, or truncated ({first_line(error)})") from error


def write_safetensors(path: Path, tensors: "Mapping[str, Tensor]", metadata: Mapping[str, str]) -> None:
    """Write tensors and metadata to `path`, atomically; WeightsError if it cannot be written."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    # The format refuses tensors that share memory, as the layers of a stack do.
    whole = {k: t.detach().cpu().clone(memory_format=torch.contiguous_format) for k, t in tensors.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as draft:
            draft.touch()
            mode = draft.stat().st_mode  # as for any new file; safetensors makes one that only its owner can read
            save_file(whole, draft, dict(metadata))
            draft.chmod(mode)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: cannot be written ({first_line(error)})") from error


def read_state_dict(path: Path) -> "dict[str, Tensor]":
    """The flat state dict of an OpenFold checkpoint; averaged (EMA) parameters if it has any.

    path: a bare state dict, a Lightning checkpoint (`ema.params`, `state_dict`) or a DeepSpeed folder (`latest`).
    WeightsError: missing, truncated, without a state dict, or with other objects than tensors and plain values.
    """
    file = deepspeed_file(path) if path.is_dir() else path
    _require_file(file)
    content = _load(file)
    for keys in (("ema", "params"), ("state_dict",), ("module",), ()):
        tensors = _descend(content, keys)
        if tensors is not None:
            return _strip_prefixes(tensors)
    raise WeightsError(
        f"{file}: holds no state dict of tensors (tried ema.params, state_dict, module and the file itself)"
    )


def file_in(folder: Path) -> Path | None:
    """The one parameter file of a training run's folder, or of a DeepSpeed checkpoint's; None for any other folder."""
    if (folder / "latest").is_file():
        return deepspeed_file(folder)
    return next((folder / name for name in (BEST, LAST) if (folder / name).is_file()), None)


def deepspeed_file(folder: Path) -> Path:
    """The file of a DeepSpeed checkpoint's folder that holds the parameters; WeightsError without its file `latest`."""
    try:
        tag = (folder / "latest").read_text().strip()
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{folder}: a folder without a DeepSpeed checkpoint's file 'latest'; name the .pt file itself"
        ) from error
    return folder / tag / "mp_rank_00_model_states.pt"


def _load(path: Path) -> Any:
    import torch

    try:
        # Files written before torch 1.6 are not zip archives and cannot be mapped into memory.
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        if zipfile.is_zipfile(path):
            reason = "holds Python objects besides tensors, which are never loaded; save its state dict alone"
            raise WeightsError(f"{path}: {reason} (torch.save(model.state_dict(), PATH))") from error
        raise DamagedError(f"{path}: not a torch checkpoint, or truncated") from error
    except Exception as error:  # a damaged pickle stream can raise anything
        raise DamagedError(f"{path}: not a torch checkpoint, or truncated ({first_line(error)})") from error


def _descend(content: Any, keys: tuple[str, ...]) -> "dict[str, Tensor] | None":
    import torch

    for key in keys:
        content = content.get(key) if isinstance(content, Mapping) else None
    if not isinstance(content, Mapping) or not content:
        return None
    flat = all(isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in content.items())
    return dict(content) if flat else None


def _strip_prefixes(tensors: "dict[str, Tensor]") -> "dict[str, Tensor]":
    for prefix in ("module.", "model.") * 2:  # wrappers nest in either order
        if all(key.startswith(prefix) for key in tensors):
            tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
    return tensors


def sha256(path: Path, progress: Progress | None = None) -> str:
    """A file's SHA-256 in hexadecimal; `progress` is called with the bytes read and the file's size."""
    _require_file(path)
    total, done, digest = path.stat().st_size, 0, hashlib.sha256()
    try:
        with path.open("rb", buffering=0) as handle:
            while block := handle.read(BLOCK):
                digest.update(block)
                done += len(block)
                if progress:
                    progress(done, total)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from error
    return digest.hexdigest()


def _require_file(path: Path) -> None:
    try:
        if path.is_file():
            return
        reason = "is a folder, expected a file" if path.is_dir() else "no such file"
    except OSError as error:
        reason = f"cannot be reached ({error.strerror})"
    raise WeightsError(f"{path}: {reason}; `foldcli weights list` shows what is there")


def copy(stream: IO[bytes], target: Path, heard: Callable[[int], None] | None = None) -> str:
    """Write a stream to `target` and return its SHA-256; `heard` is called with each block's size. OSError."""
    digest = hashlib.sha256()
    with target.open("wb") as handle:
        while block := stream.read(BLOCK):
            handle.write(block)
            digest.update(block)
            if heard:
                heard(len(block))
    return digest.hexdigest()


def counter(total: int, progress: Callable[[int, int], None]) -> Callable[[int], None]:
    """A callback for block sizes that passes their running sum and `total` to `progress`."""
    done = 0

    def heard(size: int) -> None:
        nonlocal done
        done += size
        progress(done, total)

    return heard


def require_space(folder: Path, needed: int) -> None:
    """WeightsError if fewer than `needed` bytes are free on the disk of `folder`."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise WeightsError(f"{folder}: needs {amount(needed)}, {amount(free)} are free; {MAKE_ROOM}")


def amount(size: float) -> str:
    """A number of bytes as text, such as 5.30 GB."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.2f} GB"
