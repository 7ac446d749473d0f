"""Start one rank for each device of this machine, supervised by torch's elastic agent (as torchrun does)."""

import logging
import sys
import tempfile
import uuid
from collections.abc import Sequence
from typing import NoReturn

import torch
from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from foldcli.errors import InputError, Interrupted


def require_devices(device: str, ranks: int, use_cpu: str) -> None:
    """InputError if this machine has fewer GPUs than ranks; on the CPU any number of ranks shares the cores.

    use_cpu: how the command chooses the CPU, for the message: `--device cpu` or `device=cpu`.
    """
    present = torch.cuda.device_count()
    if device != "cpu" and ranks > present:
        raise InputError(f"--gpus {ranks}: this machine has {present}; take fewer, or {use_cpu} for ranks on cores")


def launch(arguments: Sequence[str], ranks: int) -> NoReturn:
    """Run `foldcli ARGUMENTS` as `ranks` processes and exit: with 0, or with the code of the first that failed.

    Ranks read their place from the environment, as under torchrun. When one fails, the others are stopped and its error
    is printed. Interrupted: by a signal, once all ranks have ended.
    """
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # failures are printed below, once
    with tempfile.TemporaryDirectory(prefix="foldcli-") as folder:
        config = LaunchConfig(
            min_nodes=1, max_nodes=1, nproc_per_node=ranks, run_id=uuid.uuid4().hex, rdzv_backend="c10d",
            rdzv_endpoint="localhost:0", local_addr="localhost", max_restarts=0, monitor_interval=0.1,
            logs_specs=DefaultLogsSpecs(log_dir=folder),
        )  # fmt: skip
        try:
            elastic_launch(config, sys.executable)("-m", "foldcli", *arguments)
        except ChildFailedError as error:
            sys.exit(report_failure(*error.get_first_failure()))
        except SignalException:
            raise Interrupted("interrupted; the same command goes on with what is left") from None
    sys.exit(0)


def report_failure(rank: int, failure: ProcessFailure) -> int:
    """Print a rank's error and return the exit code for it, 128 + N if signal N ended it."""
    if isinstance(failure.message, dict):
        print(failure.message["message"], file=sys.stderr)
    elif failure.exitcode < 0:
        why = "; the system kills those that take too much memory" if failure.exitcode == -9 else ""
        print(f"foldcli: rank {rank} was ended by {failure.signal_name()}{why}", file=sys.stderr)
    return failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode
