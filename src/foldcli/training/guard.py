"""Skip steps whose loss is NaN, infinite or a spike, so that one bad batch does not ruin a run."""

import math

from foldcli.config import GuardConfig
from foldcli.errors import FoldcliError

# Steps before spikes are looked for, and the decay of the running mean that the loss is compared with.
WARMUP = 50
DECAY = 0.98


class Guard:
    """Decides by loss and gradient norm whether a step is taken."""

    def __init__(self, config: GuardConfig) -> None:
        self.config = config
        self.mean = 0.0
        self.seen = 0
        self.refused = 0

    def refuse(self, loss: float, norm: float) -> str:
        """Why the step must not be taken, or ""; FoldcliError after too many such steps in a row."""
        reason = self._reason(loss, norm)
        self.refused = self.refused + 1 if reason else 0
        if self.refused >= self.config.give_up:
            raise FoldcliError(
                f"{self.refused} steps in a row could not be taken, the last for {reason}; look at the batches in "
                "skipped/, then resume with a lower optimizer.rate, or with a higher guard.spike"
            )
        if not reason:
            self.seen += 1
            decay = min(DECAY, 1 - 1 / self.seen)
            self.mean = decay * self.mean + (1 - decay) * loss
        return reason

    def _reason(self, loss: float, norm: float) -> str:
        if not math.isfinite(loss):
            return f"a loss of {loss}"
        if not math.isfinite(norm):
            return f"a gradient of norm {norm}"
        if self.seen >= WARMUP and loss > self.config.spike * self.mean:
            return f"a loss of {loss:.3g}, {loss / self.mean:.0f} times its mean"
        return ""
