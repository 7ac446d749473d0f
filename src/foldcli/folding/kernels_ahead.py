"""Kernels of a run compiled all at once, in processes of their own, while parameters load and features are made."""

import contextlib
import hashlib
import importlib.util
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from foldcli.cache_folder import cache_folder
from foldcli.folding.alignments import expected_depth
from foldcli.folding.job import Job
from foldcli.folding.models import Source
from foldcli.folding.templates import takes_templates
from foldcli.ops.dispatch import chosen, kernel_cache, obstacle_on
from foldcli.search.templates import MAX_TEMPLATES

Size = tuple[int, int, int]  # residues, rows of the alignment, templates


class KernelsAhead:
    """The processes that compile; where none can be started, or one fails, kernels are compiled when launched."""

    def __init__(self, sources: Sequence[Source], device: torch.device, precision: torch.dtype) -> None:
        self.sources, self.device, self.precision = sources, device, precision
        self._process: subprocess.Popen[str] | None = None

    def begin(self, jobs: Sequence[Job], ranks: int) -> None:
        """Start to compile what the jobs will launch that no run before has asked for; on a GPU alone.

        ranks: of the run; the first of each host compiles for all of them.
        """
        wanted = self.device.type == "cuda" and chosen() != "reference" and os.environ.get("LOCAL_RANK", "0") == "0"
        if not wanted or obstacle_on(self.device, self.precision, False):
            return
        with contextlib.suppress(Exception):  # whatever it is, kernels are compiled when launched
            request = self.request(jobs, torch.cuda.get_device_name(self.device), ranks)
            request["capability"] = torch.cuda.get_device_capability(self.device)
            if request["markers"]:
                self.start(request)

    def request(self, jobs: Sequence[Job], gpu: str, ranks: int) -> dict[str, object]:
        """What `compile_kernels` reads, but for the GPU's capability."""
        models = {json.dumps(asdict(replace(source.config.model, name=""))) for source in self.sources}
        config, half = self.sources[0].config, self.precision.itemsize == 2
        forms = [*["fused"] * half, *["plain"] * (ranks > 1 or not half)]  # a job may have one rank, or several
        request: dict[str, object] = {
            "gpu": gpu, "precision": str(self.precision).removeprefix("torch."), "cyclic": config.cyclic,
            "forms": forms, "models": [json.loads(model) for model in sorted(models)],
        }  # fmt: skip
        common = hashlib.sha256(json.dumps([request, *_versions()]).encode())
        folder, sizes = kernel_cache(), dict[Path, Size]()
        for size in map(self._size, jobs):
            digest = common.copy()
            digest.update(repr([_kind(count) for count in size]).encode())
            sizes.setdefault(folder / f"foldcli-{digest.hexdigest()}", size)
        sizes = {marker: size for marker, size in sizes.items() if not marker.exists()}
        return request | {"sizes": list(sizes.values()), "markers": list(map(str, sizes))}

    def start(self, request: dict[str, object]) -> None:
        command = [sys.executable, "-P", "-m", "foldcli.folding.compile_kernels"]
        quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        kernel_cache().mkdir(parents=True, exist_ok=True)
        # A session of its own: all its processes end by one signal.
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True, **quiet)
        assert self._process.stdin is not None
        with self._process.stdin as file:
            json.dump(request, file)

    def close(self) -> None:
        """End what is still being compiled; nobody waits for it any more."""
        if self._process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _size(self, job: Job) -> Size:
        """The most that a job may show the models."""
        shown = any(takes_templates(source.config) for source in self.sources)
        return job.length, expected_depth(job.query, self.sources[0].config), MAX_TEMPLATES * shown


def _kind(count: int) -> tuple[bool, int, int]:
    """What of a count decides which kernels are compiled: 1, its factors of two up to 16, and its class of tiles."""
    return count == 1, math.gcd(count, 16), (count - 1).bit_length()


def _versions() -> Iterator[str]:
    """What else decides: versions, and the sources and tuned tiles by the time of their last change."""
    yield from map(metadata.version, ("torch", "triton"))
    files = [cache_folder() / "launch" / "tuned.json"]
    for package in ("foldcli", "foldcli_kernels"):
        spec = importlib.util.find_spec(package)
        folders = spec.submodule_search_locations if spec else None
        files += sorted(Path((folders or ["."])[0]).rglob("*.py"))
    yield from (f"{path} {path.stat().st_mtime_ns}" for path in files if path.exists())
