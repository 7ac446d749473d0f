"""Adam with clipping per micro-batch, float32 master parameters and their moving average (Suppl. Sec. 1.11.3).

Weight matrices may be updated by Muon instead. Nothing here waits for the device: numbers that a step depends on are
tensors, so that a step can be captured as a CUDA graph.
"""

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import nn

from foldcli.config import OptimizerConfig
from foldcli.shapes import Float, Tensor
from foldcli.training.flat_parameters import FlatParameters
from foldcli.training.muon import Muon


def learning_rate(config: OptimizerConfig, samples: int, steps_left: int) -> float:
    """The learning rate after so many samples: linear warm-up, one decay, linear cool-down over the last steps."""
    warm = min(1.0, samples / config.warmup_samples) if config.warmup_samples else 1.0
    late = config.decay if samples > config.decay_after_samples else 1.0
    end = min(1.0, (steps_left + 1) / (config.cooldown_steps + 1))
    return config.rate * warm * late * end


class Adam:
    """Adam (Kingma & Ba 2015) on one flat tensor, by torch's fused operator."""

    def __init__(self, masters: Float[Tensor, " n"], config: OptimizerConfig) -> None:
        self.masters, self.config = masters, config
        self.mean, self.square = torch.zeros_like(masters), torch.zeros_like(masters)
        self.steps = torch.zeros((), device=masters.device)

    def step(self, gradient: Float[Tensor, " n"], rate: Float[Tensor, ""], taken: Float[Tensor, ""]) -> None:
        """Take a step; taken: 1, or 0 to change nothing."""
        self.steps.add_(taken)
        torch._fused_adam_(
            [self.masters], [gradient], [self.mean], [self.square], [], [self.steps], lr=rate,
            beta1=self.config.beta1, beta2=self.config.beta2, weight_decay=0.0, eps=self.config.epsilon,
            amsgrad=False, maximize=False, found_inf=1 - taken,
        )  # fmt: skip


class Optimizer:
    """Updates float32 masters of a model's parameters, which may be in half precision themselves."""

    def __init__(self, model: nn.Module, config: OptimizerConfig) -> None:
        self.config = config
        self.flat = FlatParameters(model, matrices_apart=config.matrices == "muon")
        self.average = self.flat.masters.clone()
        self.gradient = self.flat.zeros()
        self.muon = Muon(self.flat)
        self.adam = Adam(self.flat.masters[self.flat.matrices :], config)
        self.rate, self.decay = (torch.zeros((), device=self.flat.device) for _ in range(2))

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The model's parameters, in its order."""
        return self.flat.parameters

    @property
    def averages(self) -> dict[str, Tensor]:
        """The moving average of each parameter."""
        return self.flat.named_views(self.average)

    @torch.no_grad()
    def add(self, gradients: Sequence[Tensor], share: float) -> Float[Tensor, ""]:
        """Add `share` times a micro-batch's gradient, clipped by its global norm; returns the norm before clipping."""
        gathered = self.flat.gather(gradients)
        # by parts first: a sum of so many squares, one by one, would lose small ones to rounding
        norm = torch.linalg.vector_norm(torch.linalg.vector_norm(gathered.view(-1, 64), dim=-1))
        self.gradient.addcmul_(gathered, share * (self.config.clip / (norm + 1e-6)).clamp(max=1.0))
        return norm

    def schedule(self, samples: int, steps_left: int, number: int) -> float:
        """Prepare step `number`, counted from 0; returns the learning rate."""
        rate = learning_rate(self.config, samples, steps_left)
        self.rate.fill_(rate)
        # early averages move faster, or the random initialisation would last for thousands of steps
        self.decay.fill_(min(self.config.ema, (1 + number) / (10 + number)))
        return rate

    @torch.no_grad()
    def step(self, taken: Float[Tensor, ""]) -> None:
        """Take the step prepared, with the accumulated gradients, and zero these; taken: 1, or 0 to only zero them."""
        matrices = self.flat.matrices
        self.gradient.masked_fill_(taken == 0, 0.0)  # times 0, NaN would stay
        if matrices:
            self.muon.step(self.gradient[:matrices], self.rate, taken)
        if matrices < self.flat.size:
            self.adam.step(self.gradient[matrices:], self.rate, taken)
        self.average.lerp_(self.flat.masters, (1 - self.decay) * taken)
        self.flat.copy_to_model()
        self.gradient.zero_()

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Put the averages into the model inside the block."""
        learnt = self.flat.masters.clone()
        self._set_masters(self.average)
        try:
            yield
        finally:
            self._set_masters(learnt)

    def learn_averages(self) -> None:
        """Go on from the averages."""
        self._set_masters(self.average)

    @torch.no_grad()
    def _set_masters(self, values: Float[Tensor, " n"]) -> None:
        self.flat.masters.copy_(values)
        self.flat.copy_to_model()

    def state(self) -> dict[str, Tensor]:
        """Masters, averages and optimiser state by name; the tensors themselves, not copies."""
        masters, averages = self.flat.named_views(self.flat.masters), self.averages
        state = {f"parameter.{name}": view for name, view in masters.items()}
        state |= {f"average.{name}": view for name, view in averages.items()}
        for place in self.flat.places:
            if place.matrix:
                state[f"muon.momentum_buffer.{place.name}"] = place.view(self.muon.momentum)
            else:
                for kind, buffer in (("exp_avg", self.adam.mean), ("exp_avg_sq", self.adam.square)):
                    at = place.start - self.flat.matrices
                    state[f"adam.{kind}.{place.name}"] = buffer[at : at + place.shape.numel()].view(place.shape)
                state[f"adam.step.{place.name}"] = self.adam.steps
        return state
