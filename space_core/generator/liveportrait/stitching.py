"""The stitching and retargeting networks: corrections of the driving keypoints."""

import torch
from torch import nn

from space_core.generator.liveportrait.layout import NUM_KEYPOINTS

NUM_COORDINATES = 3 * NUM_KEYPOINTS


class StitchingNetwork(nn.Module):
    """A perceptron with ReLUs on (B, inputs)."""

    def __init__(self, inputs: int, hidden: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip((inputs, *hidden), hidden, strict=False):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.mlp = nn.Sequential(*layers, nn.Linear(hidden[-1], outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.mlp(x)


class StitchingModule(nn.Module):
    """Three networks: one keeps the shoulders where they are, the others close the lips and the eyes.

    The shoulders' takes source and driving keypoints and gives displacements of the keypoints, and of all of them in x
    and y; the others take the source's keypoints with two or three ratios of opening, and give displacements.
    """

    def __init__(self) -> None:
        super().__init__()
        self.retarget_shoulder = StitchingNetwork(2 * NUM_COORDINATES, (128, 128, 64), NUM_COORDINATES + 2)
        self.retarget_mouth = StitchingNetwork(NUM_COORDINATES + 2, (128, 128, 64), NUM_COORDINATES)
        self.retarget_eye = StitchingNetwork(NUM_COORDINATES + 3, (256, 256, 128, 128, 64), NUM_COORDINATES)

    def forward(self, source: torch.Tensor, driving: torch.Tensor) -> torch.Tensor:
        """The driving keypoints (B, 21, 3), corrected so that the shoulders stay with the source's."""
        correction = self.retarget_shoulder(torch.cat([source.flatten(1), driving.flatten(1)], 1))
        stitched = driving + correction[:, :NUM_COORDINATES].unflatten(1, (NUM_KEYPOINTS, 3))
        # By concatenation instead of an addition in place, which exporters do not take.
        shift = torch.cat([correction[:, NUM_COORDINATES:], correction.new_zeros(len(correction), 1)], 1)
        return stitched + shift[:, None]
