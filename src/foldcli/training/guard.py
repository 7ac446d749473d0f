"""What keeps one bad batch from ruining a run."""

import math

from foldcli.config import GuardConfig
from foldcli.errors import FoldcliError

# Steps until the running mean of the loss is worth comparing with, and how slowly it then moves.
YOUNG = 50
MEMORY = 0.98


class Guard:
    """Judges each step by its loss and gradient before it is taken."""

    def __init__(self, config: GuardConfig) -> None:
        self.config = config
        self.mean = 0.0
        self.seen = 0
        self.refused = 0

    def refuse(self, loss: float, norm: float) -> str:
        """Why the step must not be taken, or nothing; FoldcliError after too many such steps in a row."""
        reason = self._reason(loss, norm)
        self.refused = self.refused + 1 if reason else 0
        if self.refused >= self.config.give_up:
            raise FoldcliError(
                f"{self.refused} steps in a row could not be taken, the last for {reason}; look at the batches in "
                "skipped/, then resume with a lower optimizer.rate, or with a higher guard.spike"
            )
        if not reason:
            self.seen += 1
            memory = min(MEMORY, 1 - 1 / self.seen)
            self.mean = memory * self.mean + (1 - memory) * loss
        return reason

    def _reason(self, loss: float, norm: float) -> str:
        if not math.isfinite(loss):
            return f"a loss of {loss}"
        if not math.isfinite(norm):
            return f"a gradient of norm {norm}"
        if self.seen >= YOUNG and loss > self.config.spike * self.mean:
            return f"a loss of {loss:.3g}, {loss / self.mean:.0f} times its mean"
        return ""
