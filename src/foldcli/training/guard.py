"""Skip steps whose loss is NaN, infinite or a spike, so that one bad batch does not ruin a run."""

import math

import torch

from foldcli.config import GuardConfig
from foldcli.errors import FoldcliError
from foldcli.shapes import Float, Tensor

# Steps before spikes are looked for, and the decay of the running mean that the loss is compared with.
WARMUP = 50
DECAY = 0.98


class Guard:
    """Decides by loss and gradient norm whether a step is taken: on the device, where the host need not wait for it.

    mean: of the loss, running; seen: steps taken; refused: steps in a row that were not.
    """

    def __init__(self, config: GuardConfig, device: torch.device) -> None:
        self.config = config
        self.mean, self.seen = (torch.zeros((), dtype=torch.float64, device=device) for _ in range(2))
        self.refused = 0

    def judge(self, loss: Float[Tensor, ""], norm: Float[Tensor, ""]) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Whether the step is taken, 1 or 0, and the running mean that its loss was compared with."""
        mean = self.mean.clone()
        no_spike = (self.seen < WARMUP) | (loss <= self.config.spike * mean)
        taken = (loss + norm).isfinite() & no_spike
        self.seen.add_(taken)
        decay = (1 - 1 / self.seen.clamp(min=1)).clamp(max=DECAY)
        self.mean.copy_(torch.where(taken, loss.to(mean).lerp(mean, decay), mean))
        return taken.float(), mean

    def told(self, taken: bool, loss: float, norm: float, mean: float) -> str:
        """Why a step was not taken, or ""; FoldcliError after too many such steps in a row."""
        self.refused = 0 if taken else self.refused + 1
        reason = "" if taken else _reason(loss, norm, mean)
        if self.refused >= self.config.give_up:
            raise FoldcliError(
                f"{self.refused} steps in a row could not be taken, the last for {reason}; look at the batches in "
                "skipped/, then resume with a lower optimizer.rate, or with a higher guard.spike"
            )
        return reason


def _reason(loss: float, norm: float, mean: float) -> str:
    if not math.isfinite(loss):
        return f"a loss of {loss}"
    if not math.isfinite(norm):
        return f"a gradient of norm {norm}"
    return f"a loss of {loss:.3g}, {loss / mean:.0f} times its mean"
