"""Networks of other fields from torch's own layers: AutoChunk must chunk these as well."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Self-attention over positions, causal if asked."""

    def __init__(self, channels: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(channels, 2 * channels)
        self.output = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        q = self.query(x).unflatten(-1, (self.heads, -1)).transpose(-2, -3)
        k, v = (part.unflatten(-1, (self.heads, -1)).transpose(-2, -3) for part in self.key_value(x).chunk(2, -1))
        rows = torch.arange(x.shape[-2], device=x.device)
        mask = rows[:, None] >= rows[None, :] if self.causal else None
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.output(mixed.transpose(-2, -3).flatten(-2))


class TransformerBlock(nn.Module):
    """A block of GPT (causal) or of a vision transformer."""

    def __init__(self, channels: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attention = Attention(channels, heads, causal)
        self.hidden = nn.Sequential(nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.first(x))
        return x + self.hidden(self.second(x))


class Residual(nn.Module):
    """Two convolutions around a shortcut."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.GroupNorm(4, into), nn.SiLU(), nn.Conv2d(into, out, 3, padding=1))
        self.second = nn.Sequential(nn.GroupNorm(4, out), nn.SiLU(), nn.Conv2d(out, out, 3, padding=1))
        self.shortcut = nn.Conv2d(into, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.second(self.first(x))


class PixelAttention(nn.Module):
    """Attention among all pixels, its logits written out, as in diffusion networks."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(4, channels)
        self.packed = nn.Conv2d(channels, 3 * channels, 1)
        self.output = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.packed(self.norm(x)).flatten(2).unflatten(1, (3, self.heads, -1)).unbind(1)
        weight = (torch.einsum("bhci,bhcj->bhij", q, k) * q.shape[-2] ** -0.5).softmax(-1)
        mixed = torch.einsum("bhij,bhcj->bhci", weight, v)
        return x + self.output(mixed.flatten(1, 2).unflatten(-1, x.shape[-2:]))


class UNet(nn.Module):
    """A small U-Net of two levels with attention in the lower one, as a diffusion model has it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3, channels, 3, padding=1)
        self.down = Residual(channels, 2 * channels)
        self.middle = nn.ModuleList([Residual(2 * channels, 2 * channels)])
        self.attention = PixelAttention(2 * channels, 2)
        self.up = Residual(3 * channels, channels)
        self.leave = nn.Conv2d(channels, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.enter(x)
        low = self.attention(self.middle[0](self.down(F.avg_pool2d(first, 2))))
        high = F.interpolate(low, scale_factor=2.0, mode="nearest")
        return self.leave(self.up(torch.cat([first, high], 1)))


def gpt(channels: int = 64) -> nn.Module:
    return TransformerBlock(channels, 4, True)


def vit(channels: int = 64) -> nn.Module:
    return TransformerBlock(channels, 4, False)
