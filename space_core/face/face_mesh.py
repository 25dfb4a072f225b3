"""MediaPipe's face mesh with attention (Grishchenko et al., 2020): the network and its input region."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from space_core.assets import weights_path
from space_core.face.blaze_block import Pointwise, blaze_blocks, halving_convolution
from space_core.face.network_weights import load_network
from space_core.face.regions import image_tensor, project, sample_turned, turned_square
from space_core.face.topology import LEFT_EYE, NUM_POINTS, NUM_SURFACE_POINTS, RIGHT_EYE

WEIGHTS = weights_path("face_mesh.safetensors")

INPUT_SIZE = 192  # side of the network's input, pixels
MARGIN = 1.5  # side of the square in which a face is seen, in longer sides of the box around it

# Lips and eyes are refined in boxes of 16 × 16 features, of the 48 × 48 that the first stages give.
FEATURES_SIZE, BOX_SIZE = 48, 16
BOX_MARGIN = 1.5  # sides of such a box, in sides of the box around the landmarks in it
BOX_LANDMARKS_SIZE = 64  # what its landmarks are in units of: sides of the box
# Lips, the image's left eye, its iris, the right eye, its iris: how many points, and in which of the three boxes.
PART_POINTS = (80, 71, 5, 71, 5)
PART_BOXES = (0, 1, 1, 2, 2)


class FaceMeshNetwork(nn.Module):
    """The face mesh of a face, its lips, eyes and irises refined by networks that attend to boxes around lips and eyes.

    The networks of the three boxes have the same shape, and so do the five for lips, eyes and irises that follow them,
    so each of their layers is one grouped convolution.
    """

    part_landmarks: torch.Tensor
    box_landmarks: torch.Tensor
    box_ends: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.stem = halving_convolution(3, 16, 3)
        self.stem_activation = nn.PReLU(16)
        self.low = blaze_blocks(16, 16, 16, (32, 2), prelu=True)
        self.high = blaze_blocks(
            *(32, 32, 32, (64, 2), 64, 64, (128, 2), 128, 128, (128, 2), 128, 128, (128, 2), 128, 128), prelu=True
        )
        self.neck = _neck(groups=1)
        self.mesh = nn.Conv2d(32, 3 * NUM_SURFACE_POINTS, 3)
        self.presence = nn.Conv2d(32, 1, 3)
        self.boxes = blaze_blocks(32, 32, 32, (64, 2), 64, 64, (128, 2), groups=3, prelu=True)
        self.parts = blaze_blocks(128, 128, 128, (128, 2), 128, 128, groups=5, prelu=True)
        self.parts_neck = _neck(groups=5)
        self.points = nn.ModuleList(nn.Conv2d(32, 2 * number, 2) for number in PART_POINTS)
        # The landmarks that the parts' points replace, and those that a box is put around (some twice, to make up 80).
        self.register_buffer("part_landmarks", torch.zeros(sum(PART_POINTS), dtype=torch.int64))
        self.register_buffer("box_landmarks", torch.zeros(3, max(PART_POINTS), dtype=torch.int64))
        self.register_buffer("box_ends", torch.zeros(3, 2, dtype=torch.int64))  # in a box, these two are level

    def forward(self, faces: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Faces (N, 3, 192, 192), 0 … 1, to landmarks (N, 478, 3) in pixels and logits (N,) that it is a face."""
        x = self.stem_activation(self.stem(faces))
        features = self.low(x)  # (N, 32, 48, 48)
        x = self.neck(self.high(features))  # (N, 32, 3, 3)
        surface = self.mesh(x).view(-1, NUM_SURFACE_POINTS, 3)
        presence = self.presence(x).flatten()

        centre, axes, half = self._boxes(surface[..., :2] * (FEATURES_SIZE / INPUT_SIZE))
        to_features = torch.cat([axes * half[:, :, None], centre[..., None]], -1) * (2 / FEATURES_SIZE)
        to_features[..., 2] -= 1
        x = self.boxes(_features_in(to_features, features))  # (N, 3 · 128, 4, 4)
        x = x.unflatten(1, (3, -1))[:, PART_BOXES].flatten(1, 2)
        x = self.parts_neck(self.parts(x))  # (N, 5 · 32, 2, 2)
        parts = []
        for part, box, layer in zip(x.chunk(5, 1), PART_BOXES, self.points, strict=True):
            points = layer(part).view(x.shape[0], -1, 2) * (2 / BOX_LANDMARKS_SIZE) - 1  # -1 … 1 from edge to edge
            parts.append(centre[:, box, None] + (points * half[:, box, None]) @ axes[:, box].mT)
        return self._refined(surface, torch.cat(parts, 1) * (INPUT_SIZE / FEATURES_SIZE)), presence

    def _boxes(self, surface: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Centres (N, 3, 2), axes (N, 3, 2, 2: one a column) and half sides (N, 3, 2) of the boxes, in features.

        ``surface`` is (N, 468, 2), in features.
        """
        ends = surface[:, self.box_ends]  # (N, 3, 2, 2)
        x, y = F.normalize(ends[:, :, 1] - ends[:, :, 0], dim=-1).unbind(-1)
        axes = torch.stack([torch.stack([x, -y], -1), torch.stack([y, x], -1)], -2)
        low, high = torch.aminmax(surface[:, self.box_landmarks] @ axes, dim=2)
        centre = (axes @ ((low + high) / 2)[..., None])[..., 0]
        return centre, axes, (high - low) * (BOX_MARGIN / 2)

    def _refined(self, surface: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """The landmarks (N, 478, 3), x and y of the parts' (N, 232, 2) instead of the surface's (N, 468, 3).

        Irises lie as deep as the lids do on average.
        """
        landmarks = F.pad(surface, (0, 0, 0, NUM_POINTS - NUM_SURFACE_POINTS))
        landmarks[:, self.part_landmarks, :2] = points
        for eye in (LEFT_EYE, RIGHT_EYE):
            depth = landmarks[:, eye.upper_lid + eye.lower_lid[1:-1], 2].mean(1, keepdim=True)
            landmarks[:, (eye.pupil, *eye.iris_rim), 2] = depth
        return landmarks


def _neck(groups: int) -> nn.Sequential:
    """From 128 channels to 32."""
    return nn.Sequential(
        Pointwise(128, 32, groups), nn.PReLU(32 * groups), *blaze_blocks(32, 32, groups=groups, prelu=True)
    )


def _features_in(boxes: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """What three boxes show of features (N, C, 48, 48), as (N, 3 · C, 16, 16).

    ``boxes`` (N, 3, 2, 3) map -1 … 1, from edge to edge of a box, to -1 … 1 from edge to edge of the features.
    """
    number, channels, size, _ = features.shape
    grid = F.affine_grid(boxes.flatten(0, 1), [3 * number, 1, BOX_SIZE, BOX_SIZE], align_corners=False)
    inside = (grid.abs() <= 1 - 1 / size).all(-1)  # the network was trained with black beyond the outermost features
    grid = grid.view(number, 3 * BOX_SIZE, BOX_SIZE, 2)
    sampled = F.grid_sample(features, grid, padding_mode="border", align_corners=False)
    sampled = sampled.view(number, channels, 3, BOX_SIZE, BOX_SIZE) * inside.view(number, 1, 3, BOX_SIZE, BOX_SIZE)
    return sampled.transpose(1, 2).flatten(1, 2).contiguous(memory_format=torch.channels_last)


class FaceMesh:
    """The network with its weights, applied to regions of images."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self._network = load_network(FaceMeshNetwork, WEIGHTS, device)
        self._device = torch.device(device)

    def __call__(self, images: list[np.ndarray], regions: list[np.ndarray]) -> list[np.ndarray | None]:
        """The face in a region (2, 3) of each image (H, W, 3) uint8 RGB, all at once.

        Returns landmarks (478, 3) float32, x and y in pixel indices of the image, z in pixels, smaller towards the
        camera; None where the region shows no face.
        """
        if not images:
            return []
        return [
            _in_image(row[:-1].reshape(NUM_POINTS, 3) / INPUT_SIZE, region) if row[-1] > 0 else None
            for row, region in zip(self._outputs(images, regions), regions, strict=True)
        ]

    def presence(self, images: list[np.ndarray], regions: list[np.ndarray]) -> np.ndarray:
        """(N,) logits that a region (2, 3) of each of N images shows a face; about 30 for a clear one."""
        return self._outputs(images, regions)[:, -1]

    @torch.inference_mode()
    def _outputs(self, images: list[np.ndarray], regions: list[np.ndarray]) -> np.ndarray:
        """(N, 478 · 3 + 1) landmarks in pixels of the network's input, and the logit that it is a face."""
        tensors = [image_tensor(image, self._device) for image in images]
        inputs = torch.cat([sample_turned(*pair, INPUT_SIZE) for pair in zip(tensors, regions, strict=True)])
        landmarks, presence = self._network(inputs / 255)
        return torch.cat([landmarks.flatten(1), presence[:, None]], 1).cpu().numpy()  # one copy to the host


def _in_image(landmarks: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Landmarks in sides of a region as pixels of its image; depth is scaled as x and y are."""
    depth = landmarks[:, 2:] * np.linalg.norm(region[:, 0])
    return np.concatenate([project(landmarks[:, :2], region), depth], axis=1).astype(np.float32)


def face_region(box: np.ndarray, eyes: np.ndarray) -> np.ndarray:
    """The region in which the network expects a face: around a box (2, 2), turned so that the eyes (2, 2) are level.

    A row of either is a point in pixels: the upper left and the lower right corner, the left and the right eye.
    """
    x, y = eyes[1] - eyes[0]
    return turned_square(box.mean(0), MARGIN * float(np.max(box[1] - box[0])), float(np.arctan2(y, x)))


def region_around(landmarks: np.ndarray) -> np.ndarray:
    """The region in which the face with these landmarks (478, 3) is looked for in the next frame."""
    points = landmarks[:, :2].astype(np.float64)
    outer_corners = points[[LEFT_EYE.upper_lid[0], RIGHT_EYE.upper_lid[-1]]]
    return face_region(np.stack([points.min(0), points.max(0)]), outer_corners)
