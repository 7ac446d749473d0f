"""The structure module goes on from frames that it is given, wherever in space they lie."""

import torch

from foldcli.compose import model_config
from foldcli.geometry.rigid import quaternion_to_rotation, rotation_to_quaternion
from foldcli.model.structure import StructureModule


def test_frames_follow_their_start_and_zeros_change_nothing() -> None:
    torch.manual_seed(0)
    config = model_config("tiny", ["model.structure.layers=3"])
    module = StructureModule(config.structure, config.c_s, config.c_z).eval().double()
    for parameter in module.parameters():  # so that layers move something
        torch.nn.init.normal_(parameter, std=0.2)
    s, z, mask = torch.randn(9, config.c_s).double(), torch.randn(9, 9, config.c_z).double(), torch.ones(9).double()
    turns, places = quaternion_to_rotation(torch.nn.functional.normalize(torch.randn(9, 4).double(), dim=-1)), 9.0
    start = torch.cat([rotation_to_quaternion(turns), places * torch.randn(9, 3).double()], dim=-1)
    turn = quaternion_to_rotation(torch.nn.functional.normalize(torch.randn(4).double(), dim=-1))
    turned = torch.cat([rotation_to_quaternion(turn @ turns), start[:, 4:] @ turn.T + 5], dim=-1)

    def run(start: torch.Tensor | None) -> torch.Tensor:
        return module(s, z, mask, start)[1][-1].frames.translation.detach()

    torch.testing.assert_close(run(turned), run(start) @ turn.T + 5)
    torch.testing.assert_close(run(torch.zeros(9, 7).double()), run(None))
    assert (run(start) - run(None)).abs().max() > 1
