"""Adam with clipping per micro-batch, float32 master parameters and their moving average (Suppl. Sec. 1.11.3).

Weight matrices may be updated by Muon instead, which orthogonalises the momentum, in steps scaled like Adam's (Jordan
et al. 2024; Liu et al. 2025, arXiv:2502.16982).
"""

from collections.abc import Sequence

import torch
from torch import nn

from foldcli.config import OptimizerConfig
from foldcli.shapes import Float, Tensor


def learning_rate(config: OptimizerConfig, samples: int, steps_left: int) -> float:
    """The learning rate after so many samples: linear warm-up, one decay, linear cool-down over the last steps."""
    warm = min(1.0, samples / config.warmup_samples) if config.warmup_samples else 1.0
    late = config.decay if samples > config.decay_after_samples else 1.0
    end = min(1.0, (steps_left + 1) / (config.cooldown_steps + 1))
    return config.rate * warm * late * end


class Optimizer:
    """Updates float32 masters of a model's parameters, which may be in half precision themselves."""

    def __init__(self, model: nn.Module, config: OptimizerConfig) -> None:
        self.config = config
        self.names = [name for name, _ in model.named_parameters()]
        self.parameters = list(model.parameters())
        self.masters = [p.detach().float() for p in self.parameters]  # shares memory with parameters that are float32
        self.averages = [m.clone() for m in self.masters]
        self.optimizers = self._optimizers()
        self.clear()

    def _optimizers(self) -> list[torch.optim.Optimizer]:
        config = self.config
        matrices = [m for m in self.masters if config.matrices == "muon" and m.dim() == 2]
        others = [m for m in self.masters if config.matrices != "muon" or m.dim() != 2]
        optimizers: list[torch.optim.Optimizer] = [
            torch.optim.Adam(others, config.rate, (config.beta1, config.beta2), config.epsilon, fused=True)
        ]
        if matrices:
            optimizers.append(torch.optim.Muon(matrices, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"))
        return optimizers

    def clear(self) -> None:
        """Zero the accumulated gradients."""
        for master in self.masters:
            master.grad = torch.zeros_like(master) if master.grad is None else master.grad.zero_()

    @property
    def gradients(self) -> list[Tensor]:
        """The accumulated gradients, in float32."""
        return [master.grad for master in self.masters if master.grad is not None]

    def add(self, gradients: Sequence[Tensor], share: float) -> Float[Tensor, ""]:
        """Add `share` times a micro-batch's gradient, clipped by its global norm; returns the norm before clipping."""
        exact = [g.float() for g in gradients]
        norm = torch.nn.utils.get_total_norm(exact)
        factor = share * (self.config.clip / (norm + 1e-6)).clamp(max=1.0)
        torch._foreach_add_(self.gradients, torch._foreach_mul(exact, factor))
        return norm

    @torch.no_grad()
    def step(self, samples: int, steps_left: int, number: int) -> float:
        """Take step `number`, counted from 0, with the accumulated gradients; returns the learning rate."""
        rate = learning_rate(self.config, samples, steps_left)
        for optimizer in self.optimizers:
            optimizer.param_groups[0]["lr"] = rate
            optimizer.step()
        # early averages move faster, or the random initialisation would last for thousands of steps
        decay = min(self.config.ema, (1 + number) / (10 + number))
        torch._foreach_lerp_(self.averages, self.masters, 1 - decay)
        self.copy_to_model()
        self.clear()
        return rate

    @torch.no_grad()
    def copy_to_model(self) -> None:
        """Copy the masters into the model's parameters, in their own precision."""
        for parameter, master in zip(self.parameters, self.masters, strict=True):
            if parameter.dtype != master.dtype:
                parameter.copy_(master)

    def state(self) -> dict[str, Tensor]:
        """Masters, averages and optimiser state by name; the tensors themselves, not copies."""
        state = {}
        names = {id(master): name for name, master in zip(self.names, self.masters, strict=True)}
        for name, master, average in zip(self.names, self.masters, self.averages, strict=True):
            state[f"parameter.{name}"], state[f"average.{name}"] = master, average
        for optimizer in self.optimizers:
            for master in optimizer.param_groups[0]["params"]:
                held = optimizer.state[master]
                if not held:  # no step taken yet
                    held.update(_initial_state(optimizer, master))
                state |= {f"{type(optimizer).__name__.lower()}.{kind}.{names[id(master)]}": held[kind] for kind in held}
        return state


def _initial_state(optimizer: torch.optim.Optimizer, master: Tensor) -> dict[str, Tensor]:
    if isinstance(optimizer, torch.optim.Muon):
        return {"momentum_buffer": torch.zeros_like(master)}
    # fused Adam counts steps where the parameter lies, and refuses a counter on another device
    step = torch.zeros((), dtype=torch.float32, device=master.device)
    return {"step": step, "exp_avg": torch.zeros_like(master), "exp_avg_sq": torch.zeros_like(master)}
