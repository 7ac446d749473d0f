"""Peak memory of this process's tensors on the CPU."""

from collections.abc import Callable

import torch


def peak_cpu_bytes(function: Callable[[], object]) -> int:
    """Peak bytes of CPU tensors while the function runs, beyond those allocated before."""
    with torch.autograd.profiler.profile(profile_memory=True) as profile:
        function()
    held, peak = 0, 0
    for event in sorted(profile.kineto_results.events(), key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak
