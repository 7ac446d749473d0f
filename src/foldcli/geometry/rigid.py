"""Rigid frames: a rotation and a translation, in angstrom or in the structure module's own units."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from foldcli.geometry.tables import constant
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

    def matrix(self) -> Float[Tensor, "*b 3 4"]:
        """Rotation and translation side by side: the motion's matrix without its last row, 0 0 0 1."""
        return torch.cat([self.rotation, self.translation.unsqueeze(-1)], dim=-1)

    def scaled(self, factor: float) -> "Rigid":
        """The same frame in other units of length."""
        return Rigid(self.rotation, self.translation * factor)


def _sums_of_products(sums: list[str]) -> NDArray[np.float32]:
    """The table [16, n] of sums such as "+ww -xy" of products of the parts w, x, y, z of two quaternions."""
    table = np.zeros((16, len(sums)), np.float32)
    for column, terms in enumerate(sums):
        for term in terms.split():
            table["wxyz".index(term[1]) * 4 + "wxyz".index(term[2]), column] += 1 if term[0] == "+" else -1
    return table


# One product with a table is a single launch on a GPU, where written out each sum would take several.
ROTATION = _sums_of_products([
    "+ww +xx -yy -zz", "+xy +xy -wz -wz", "+xz +xz +wy +wy",
    "+xy +xy +wz +wz", "+ww -xx +yy -zz", "+yz +yz -wx -wx",
    "+xz +xz -wy -wy", "+yz +yz +wx +wx", "+ww -xx -yy +zz",
])  # fmt: skip
PRODUCT = _sums_of_products(["+ww -xx -yy -zz", "+wx +xw +yz -zy", "+wy +yw +zx -xz", "+wz +zw +xy -yx"])
# The same where the second quaternion has no real part.
PRODUCT = PRODUCT.reshape(4, 4, 4)[:, 1:].reshape(12, 4)


def quaternion_to_rotation(q: Float[Tensor, "*b 4"]) -> Float[Tensor, "*b 3 3"]:
    """Rotation matrix of a unit quaternion (w, x, y, z)."""
    return (_products(q, q) @ constant(ROTATION, q)).unflatten(-1, (3, 3))


def rotation_to_quaternion(rotation: Float[Tensor, "*b 3 3"]) -> Float[Tensor, "*b 4"]:
    """Unit quaternion (w, x, y, z) of a rotation: the largest eigenvector of Bar-Itzhack's matrix (2000)."""
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = (row.unbind(-1) for row in rotation.unbind(-2))
    rows = [
        xx + yy + zz, zy - yz, xz - zx, yx - xy,
        zy - yz, xx - yy - zz, xy + yx, xz + zx,
        xz - zx, xy + yx, yy - xx - zz, yz + zy,
        yx - xy, xz + zx, yz + zy, zz - xx - yy,
    ]  # fmt: skip
    return torch.linalg.eigh(torch.stack(rows, dim=-1).unflatten(-1, (4, 4))).eigenvectors[..., -1]


def update_quaternion(q: Float[Tensor, "*b 4"], step: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 4"]:
    """Multiply q by the quaternion (1, step) and normalise (Suppl. Alg. 23)."""
    new = q + _products(q, step) @ constant(PRODUCT, q)
    return new / torch.linalg.vector_norm(new, dim=-1, keepdim=True)


def _products(a: Float[Tensor, "*b 4"], b: Float[Tensor, "*b n"]) -> Float[Tensor, "*b m"]:
    return (a.unsqueeze(-1) * b.unsqueeze(-2)).flatten(-2)


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
