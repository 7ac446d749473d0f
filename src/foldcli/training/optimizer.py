"""Adam with each micro-batch's gradient clipped, float32 masters and an average of them (Suppl. Sec. 1.11.3).

Weights with two axes may be stepped by Muon instead: the momentum made orthogonal, in steps as large as Adam's
(Jordan et al. 2024; Liu et al. 2025, arXiv:2502.16982).
"""

from collections.abc import Sequence

import torch
from torch import nn

from foldcli.config import OptimizerConfig
from foldcli.shapes import Float, Tensor


def learning_rate(config: OptimizerConfig, samples: int, steps_left: int) -> float:
    """The rate after so many samples: a linear warm-up, one decay, and a linear way to zero over the last steps."""
    warm = min(1.0, samples / config.warmup_samples) if config.warmup_samples else 1.0
    late = config.decay if samples > config.decay_after_samples else 1.0
    end = min(1.0, (steps_left + 1) / (config.cooldown_steps + 1))
    return config.rate * warm * late * end


class Optimizer:
    """Steps a model whose parameters may be in half precision; what is learnt is kept in float32."""

    def __init__(self, model: nn.Module, config: OptimizerConfig) -> None:
        self.config = config
        self.names = [name for name, _ in model.named_parameters()]
        self.parameters = list(model.parameters())
        self.masters = [p.detach().float() for p in self.parameters]  # one memory where they are float32 already
        self.averages = [m.clone() for m in self.masters]
        self.steppers = self._steppers()
        self.clear()

    def _steppers(self) -> list[torch.optim.Optimizer]:
        config = self.config
        matrices = [m for m in self.masters if config.matrices == "muon" and m.dim() == 2]
        others = [m for m in self.masters if config.matrices != "muon" or m.dim() != 2]
        steppers: list[torch.optim.Optimizer] = [
            torch.optim.Adam(others, config.rate, (config.beta1, config.beta2), config.epsilon, fused=True)
        ]
        if matrices:
            steppers.append(torch.optim.Muon(matrices, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"))
        return steppers

    def clear(self) -> None:
        """Forget the gradients that were added since the last step."""
        for master in self.masters:
            master.grad = torch.zeros_like(master) if master.grad is None else master.grad.zero_()

    @property
    def gradients(self) -> list[Tensor]:
        """The sum of what was added, float32."""
        return [master.grad for master in self.masters if master.grad is not None]

    def add(self, gradients: Sequence[Tensor], share: float) -> Float[Tensor, ""]:
        """Add one micro-batch's gradient, clipped to its largest norm and weighed; returns the norm before clipping."""
        exact = [g.float() for g in gradients]
        norm = torch.nn.utils.get_total_norm(exact)
        factor = share * (self.config.clip / (norm + 1e-6)).clamp(max=1.0)
        torch._foreach_add_(self.gradients, torch._foreach_mul(exact, factor))
        return norm

    @torch.no_grad()
    def step(self, samples: int, steps_left: int, number: int) -> float:
        """Take step `number`, counted from 0, by the gradients added; returns the learning rate."""
        rate = learning_rate(self.config, samples, steps_left)
        for stepper in self.steppers:
            stepper.param_groups[0]["lr"] = rate
            stepper.step()
        # young averages follow faster, or they would hold the random start for thousands of steps
        decay = min(self.config.ema, (1 + number) / (10 + number))
        torch._foreach_lerp_(self.averages, self.masters, 1 - decay)
        self.publish()
        self.clear()
        return rate

    @torch.no_grad()
    def publish(self) -> None:
        """Hand the masters to the model, in its own precision."""
        for parameter, master in zip(self.parameters, self.masters, strict=True):
            if parameter.dtype != master.dtype:
                parameter.copy_(master)

    def state(self) -> dict[str, Tensor]:
        """All that a step depends on, by name; the tensors themselves, not copies."""
        state = {}
        names = {id(master): name for name, master in zip(self.names, self.masters, strict=True)}
        for name, master, average in zip(self.names, self.masters, self.averages, strict=True):
            state[f"parameter.{name}"], state[f"average.{name}"] = master, average
        for stepper in self.steppers:
            for master in stepper.param_groups[0]["params"]:
                held = stepper.state[master]
                if not held:  # as the first step sets it
                    held.update(_fresh(stepper, master))
                state |= {f"{type(stepper).__name__.lower()}.{kind}.{names[id(master)]}": held[kind] for kind in held}
        return state


def _fresh(stepper: torch.optim.Optimizer, master: Tensor) -> dict[str, Tensor]:
    if isinstance(stepper, torch.optim.Muon):
        return {"momentum_buffer": torch.zeros_like(master)}
    return {"step": torch.zeros(()), "exp_avg": torch.zeros_like(master), "exp_avg_sq": torch.zeros_like(master)}
