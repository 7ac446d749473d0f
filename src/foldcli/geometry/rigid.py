"""Rigid frames: a rotation and a translation, in angstrom or in the structure module's own units."""

from dataclasses import dataclass

import torch

from foldcli.shapes import Float, Tensor

EPS = 1e-8


@dataclass(frozen=True)
class Rigid:
    """The motion x -> rotation x + translation, with any leading axes."""

    rotation: Float[Tensor, "*b 3 3"]
    translation: Float[Tensor, "*b 3"]

    def apply(self, points: Float[Tensor, "*b n 3"]) -> Float[Tensor, "*b n 3"]:
        """Local to global coordinates, n points for each frame."""
        return points @ self.rotation.transpose(-1, -2) + self.translation.unsqueeze(-2)

    def invert_apply(self, points: Float[Tensor, "*b n 3"]) -> Float[Tensor, "*b n 3"]:
        """Global to local coordinates, n points for each frame."""
        return (points - self.translation.unsqueeze(-2)) @ self.rotation

    def compose(self, inner: "Rigid") -> "Rigid":
        """The frame that applies `inner` first, then this one."""
        rotation, offset = self.rotation @ inner.rotation, self.rotation @ inner.translation.unsqueeze(-1)
        return Rigid(rotation, offset.squeeze(-1) + self.translation)

    def scaled(self, factor: float) -> "Rigid":
        """The same frame in other units of length."""
        return Rigid(self.rotation, self.translation * factor)


def quaternion_to_rotation(q: Float[Tensor, "*b 4"]) -> Float[Tensor, "*b 3 3"]:
    """Rotation matrix of a unit quaternion (w, x, y, z)."""
    w, x, y, z = q.unbind(-1)
    rows = [
        w * w + x * x - y * y - z * z, 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), w * w - x * x + y * y - z * z, 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), w * w - x * x - y * y + z * z,
    ]  # fmt: skip
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def update_quaternion(q: Float[Tensor, "*b 4"], step: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 4"]:
    """Multiply q by the quaternion (1, step) and normalise (Suppl. Alg. 23)."""
    w, v = q[..., :1], q[..., 1:]
    scalar = w - (v * step).sum(-1, keepdim=True)
    vector = v + w * step + torch.linalg.cross(v, step)
    new = torch.cat([scalar, vector], dim=-1)
    return new / torch.linalg.vector_norm(new, dim=-1, keepdim=True)


def rigid_from_3_points(
    on_negative_x: Float[Tensor, "*b 3"], origin: Float[Tensor, "*b 3"], on_xy_plane: Float[Tensor, "*b 3"]
) -> Rigid:
    """Frame from three points by Gram-Schmidt (Suppl. Alg. 21)."""
    x = _normalise(origin - on_negative_x)
    in_plane = on_xy_plane - origin
    y = _normalise(in_plane - (in_plane * x).sum(-1, keepdim=True) * x)
    return Rigid(torch.stack([x, y, torch.linalg.cross(x, y)], dim=-1), origin)


def _normalise(v: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3"]:
    return v / (v.square().sum(-1, keepdim=True) + EPS).sqrt()
