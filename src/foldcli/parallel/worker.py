"""A worker's side of a launch: its place among the ranks, and an end that leaves nothing behind."""

import contextlib
import ctypes
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import torch
import torch.distributed as dist

from foldcli.errors import FoldcliError, Interrupted

# Where the elastic agent looks for the reason of a failure; set for every worker.
ERROR_FILE = "TORCHELASTIC_ERROR_FILE"
PR_SET_PDEATHSIG = 1
# Seconds that a signalled worker has for its tables, and that one waits whose peer went away for the peer's own word.
GRACE = 5.0


def is_launched() -> bool:
    """Whether this process is one of several, started by `launch` or by torchrun."""
    return {"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"} <= os.environ.keys()


def run_worker(command: Callable[[], object]) -> NoReturn:
    """Run the command line as one rank; only rank 0 prints, and a failure goes to whoever started the rank.

    The exit code is that of the error; a command's own code is rank 0's.
    """
    _end_with_parent()
    _end_soon_after_signals()
    first = os.environ["RANK"] == "0"
    with contextlib.ExitStack() as stack:
        if not first:
            silent = stack.enter_context(Path(os.devnull).open("w"))
            stack.enter_context(contextlib.redirect_stdout(silent))
            stack.enter_context(contextlib.redirect_stderr(silent))
        try:
            command()
        except SystemExit as end:
            sys.exit(end.code if first else 0)
        except (KeyboardInterrupt, Interrupted):
            sys.exit(Interrupted.exit_code)
        except FoldcliError as error:
            _report(f"foldcli: {error}")
            sys.exit(error.exit_code)
        except Exception as error:
            _let_peer_report(error)
            _report(f"foldcli: rank {os.environ['RANK']} failed:\n{traceback.format_exc()}")
            sys.exit(1)
    sys.exit(0)


def ranks_per_host() -> int:
    """How many ranks there are on this host."""
    return int(os.environ["LOCAL_WORLD_SIZE"])


@contextlib.contextmanager
def process_group(device_type: str) -> Iterator[torch.device]:
    """Be one of the ranks inside the block: NCCL and a GPU each, or gloo and some cores. Yields the device."""
    local = int(os.environ["LOCAL_RANK"])
    if device_type == "cuda":
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
        dist.init_process_group("cpu:gloo,cuda:nccl", device_id=device)
    else:
        device = torch.device("cpu")
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // ranks_per_host()))
        dist.init_process_group("gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()


def _end_with_parent() -> None:
    """Have the kernel end this process when the one that started it is gone, however that ended."""
    if sys.platform.startswith("linux"):
        parent = os.getppid()
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # gone before the kernel knew
            os._exit(1)


def _end_soon_after_signals() -> None:
    """Leave a signalled process some seconds: handlers in Python wait for a collective that may never end."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)

    def wait() -> None:
        os.read(reader, 1)
        time.sleep(GRACE)
        os._exit(Interrupted.exit_code)

    threading.Thread(target=wait, daemon=True).start()


def _let_peer_report(error: Exception) -> None:
    """Hold back a broken connection: the rank that broke it says why, and the agent ends this one meanwhile."""
    if isinstance(error, dist.DistError) or "gloo" in str(error):
        time.sleep(GRACE)


def _report(text: str) -> None:
    """Write the reason of a failure where the elastic agent reads it."""
    reason = {"message": {"message": text, "extraInfo": {"timestamp": str(int(time.time()))}}}
    file = os.environ.get(ERROR_FILE)
    if file:
        Path(file).write_text(json.dumps(reason), encoding="utf-8")
    else:
        print(text, file=sys.__stderr__)
