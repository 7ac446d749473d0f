"""Dynamic Axial Parallelism of one Evoformer block over CPU ranks, one thread each (`make bench-parallel`).

And training steps of the model `mini` on ranks with samples of their own: the exposed part of what they send.

At 256 residues and 128 sequences: parallel efficiency T(1) / (N T(N)); seconds of communication, of its exposed part
and of computing; peak memory against 1/N. Then two ranks in two network namespaces on a slow link (needs root): the
share of communication that Duality Async hides, against a run that waits wherever it sends. The plain block, the
sharded one and the synchronous one take turns, and the fastest of each counts. The time that `foldcli bench simulate`
predicts from kernels and link is printed with its error. Writes benchmarks/results/parallel-<date>.json.
"""

import argparse
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[1]
BLOCK, STEP = (str(Path(__file__).with_name(name)) for name in ("parallel_block.py", "parallel_step.py"))
EFFICIENCY, HIDDEN, MEMORY, EXPOSED = 0.93, 0.5, 1.15, 0.1
LINK = "4gbit"
QUIET = {"KINETO_LOG_LEVEL": "99", "TORCH_CPP_LOG_LEVEL": "ERROR"}
SPACES, ADDRESSES = ("foldcli-0", "foldcli-1"), ("10.99.7.1", "10.99.7.2")


def ranks(
    count: int, *options: str, program: str = BLOCK, prefixes: Sequence[Sequence[str]] = (), **places: str
) -> dict[str, Any]:
    """Run a program on `count` ranks and parse what rank 0 prints."""
    running = []
    for rank in range(count):
        place = {"RANK": str(rank), "WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29713"}
        command = [*(prefixes[rank] if prefixes else ()), sys.executable, program, *options]
        environment = os.environ | QUIET | place | {"OMP_NUM_THREADS": "1"} | places
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment))
    said = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        raise SystemExit("a rank failed; see above")
    return json.loads(said[0])


def efficiency(count: int, *options: str) -> dict[str, float]:
    """Seconds of one turn, and the parallel efficiency T(1) / (N T(N))."""
    found = ranks(count, *options)
    found["efficiency"] = found["whole"] / (count * found["split"])
    found["of independent ranks"] = found["whole"] / found["both"]
    found["prediction error"] = found["predicted"] / found["split"] - 1
    computing = found["split"] - found["exposed"]
    print(
        f"{count} ranks: T(1) {found['whole']:.3f} s, T({count}) {found['split']:.3f} s, "
        f"efficiency {found['efficiency']:.3f} (aim {EFFICIENCY}; {found['of independent ranks']:.3f} for ranks that "
        f"share nothing but the machine); communication {found['communication']:.3f} s, "
        f"exposed {found['exposed']:.3f} s, computing {computing:.3f} s; simulated {found['predicted']:.3f} s, "
        f"{found['prediction error']:+.1%}"
    )
    return found


def memory(count: int, what: str, *options: str) -> float:
    """Peak bytes of a rank, divided by 1/N of the plain block's."""
    found = ranks(count, "--memory", *options)
    share = count * found["split"] / found["whole"]
    print(f"{count} ranks, {what}: {share:.3f} of 1/{count} of {found['whole'] / 2**20:.0f} MiB (aim below {MEMORY})")
    return share


def data_parallel(count: int, *options: str) -> dict[str, float]:
    """Seconds of a training step of `mini` on data-parallel ranks, and the share of it that is communication alone."""
    found = ranks(count, *options, program=STEP)
    found["share"] = found["exposed"] / found["step"]
    print(
        f"{count} data-parallel ranks: a step of mini takes {found['step']:.3f} s, a rank sends "
        f"{found['sent'] / 1e6:.0f} MB; exposed communication {found['exposed']:.3f} s, {found['share']:.1%} of it "
        f"(aim below {EXPOSED:.0%}); {found['late']:.3f} s of waiting for the slowest rank are no part of that"
    )
    return found


@contextmanager
def slow_link(rate: str) -> Iterator[list[list[str]]]:
    """Join two network namespaces by a link of that rate; yields the command prefix that runs in each."""
    for space in SPACES:  # left by a killed run
        subprocess.run(["ip", "netns", "del", space], check=False, capture_output=True)
    try:
        call(f"ip netns add {SPACES[0]}", f"ip netns add {SPACES[1]}")
        call(f"ip link add foldcli0 netns {SPACES[0]} type veth peer name foldcli1 netns {SPACES[1]}")
        for k, (space, address) in enumerate(zip(SPACES, ADDRESSES, strict=True)):
            call(
                f"ip -n {space} addr add {address}/24 dev foldcli{k}",
                f"ip -n {space} link set foldcli{k} up",
                f"ip -n {space} link set lo up",
                f"tc -n {space} qdisc add dev foldcli{k} root tbf rate {rate} burst 1mb latency 50ms",
            )
        yield [
            ["ip", "netns", "exec", space, "env", f"GLOO_SOCKET_IFNAME=foldcli{k}"] for k, space in enumerate(SPACES)
        ]
    finally:
        for space in SPACES:
            subprocess.run(["ip", "netns", "del", space], check=False, capture_output=True)


def call(*commands: str) -> None:
    for command in commands:
        subprocess.run(command.split(), check=True, capture_output=True, text=True)


def overlap(rate: str, *options: str) -> dict[str, float] | None:
    """The share of communication on a slow link that is hidden; None if such a link cannot be set up here."""
    if os.geteuid() != 0 or not (shutil.which("ip") and shutil.which("tc")):
        print("slow link: skipped, it takes root and the commands ip and tc")
        return None
    try:
        with slow_link(rate) as prefixes:
            found = ranks(2, *options, prefixes=prefixes, MASTER_ADDR=ADDRESSES[0])
    except subprocess.CalledProcessError as error:
        print(f"slow link: skipped, `{' '.join(error.cmd)}` failed: {error.stderr.strip()}")
        return None
    found["hidden"] = 1 - found["exposed"] / found["communication"]
    print(
        f"{rate} link: communication {found['communication']:.3f} s, exposed {found['exposed']:.3f} s: "
        f"{found['hidden']:.0%} hidden (aim {HIDDEN:.0%}); {found['split']:.3f} s a turn, "
        f"{found['synchronous']:.3f} s where every message is waited for"
    )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--turns", default="7")
    parser.add_argument("--rate", default=LINK)
    options = parser.parse_args()
    turns = ("--turns", options.turns)
    found = {
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "torch": torch.__version__,
        "date": datetime.date.today().isoformat(),
        "forward, 2 ranks": efficiency(2, *turns),
        "training step, 2 ranks": efficiency(2, "--train", *turns),
        "data-parallel step, 2 ranks": data_parallel(2, *turns),
        "memory, forward": {f"{count} ranks": memory(count, "forward") for count in (2, 4)},
        "memory, training step": {f"{count} ranks": memory(count, "training step", "--train") for count in (2, 4)},
        "slow link": {"rate": options.rate, "forward": overlap(options.rate, *turns),
                      "training step": overlap(options.rate, "--train", *turns)},
    }  # fmt: skip
    path = ROOT / "benchmarks" / "results" / f"parallel-{found['date']}.json"
    path.write_text(json.dumps(found, indent=1) + "\n")
    print(path)


if __name__ == "__main__":
    main()
