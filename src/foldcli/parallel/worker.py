"""A launched rank's own side: join the process group, report errors, and never outlive the launcher."""

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

# Environment variable: the file in which the elastic agent looks for a rank's error.
ERROR_FILE = "TORCHELASTIC_ERROR_FILE"
PR_SET_PDEATHSIG = 1
# Seconds: what a signalled rank has to write its tables, and how long one whose connection broke lets its peer report.
GRACE = 5.0


def is_launched() -> bool:
    """Whether this process was started as a rank, by `launch` or by torchrun."""
    return {"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"} <= os.environ.keys()


def run_worker(command: Callable[[], object]) -> NoReturn:
    """Run the command line as one rank and exit; only rank 0 prints, and errors are reported to the launcher.

    The exit code is the error's; a command that ends by itself gives its own on rank 0, and 0 on the others.
    """
    _die_with_parent()
    _exit_after_signal()
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
    """The number of ranks on this host."""
    return int(os.environ["LOCAL_WORLD_SIZE"])


@contextlib.contextmanager
def process_group(device_type: str) -> Iterator[torch.device]:
    """Join the process group inside the block (NCCL with a GPU each, or gloo with a share of the cores).

    Yields this rank's device.
    """
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


def _die_with_parent() -> None:
    """Have Linux kill this process when its parent ends, in whatever way (PR_SET_PDEATHSIG)."""
    if sys.platform.startswith("linux"):
        parent = os.getppid()
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent ended before prctl
            os._exit(1)


def _exit_after_signal() -> None:
    """Exit GRACE seconds after a signal: Python's own handlers cannot run inside a collective, which may never end."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)

    def wait() -> None:
        os.read(reader, 1)
        time.sleep(GRACE)
        os._exit(Interrupted.exit_code)

    threading.Thread(target=wait, daemon=True).start()


def _let_peer_report(error: Exception) -> None:
    """Wait if a connection broke: the peer that broke it reports the cause, and the agent stops this rank meanwhile."""
    if isinstance(error, dist.DistError) or "gloo" in str(error):
        time.sleep(GRACE)


def _report(text: str) -> None:
    """Write an error where the elastic agent reads it, or print it under another launcher."""
    reason = {"message": {"message": text, "extraInfo": {"timestamp": str(int(time.time()))}}}
    file = os.environ.get(ERROR_FILE)
    if file:
        Path(file).write_text(json.dumps(reason), encoding="utf-8")
    else:
        print(text, file=sys.__stderr__)
