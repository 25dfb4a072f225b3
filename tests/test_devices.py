"""What the generator promises of devices: nothing is read back, and every device draws the same picture."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from rendering import blurred, posed
from torch.nn import functional as F

from space_core.face.portrait import Portrait
from space_core.face.posed_face import PosedFace
from space_core.generator.mesh_warp import MeshWarpGenerator
from space_core.generator.mesh_warp.compositing import tiles
from space_core.generator.mesh_warp.compositing.back_view import DrawnBack
from space_core.generator.mesh_warp.compositing.compositor import compose, compose_in_torch
from space_core.generator.mesh_warp.compositing.compositor_opencv import compose_in_opencv
from space_core.generator.mesh_warp.compositing.far_layer import FarLayer
from space_core.generator.mesh_warp.compositing.soft_edges import soften_in_opencv, soften_in_torch
from space_core.generator.mesh_warp.compositing.warp import Warp
from space_core.generator.mesh_warp.glasses.worn_glasses import draw_in_opencv, draw_in_torch
from space_core.generator.mesh_warp.placement import place
from space_core.generator.mesh_warp.sampling import blur_in_opencv, blur_in_torch
from space_core.motion.blink import apply_blink
from space_core.motion.emotion import emotion_curve
from space_core.motion.emotion_network import expressive_motion


def lively_face(portrait: Portrait) -> PosedFace:
    """Four frames in which everything is drawn: a turned head, creases, a blink, an open mouth."""
    surprise = expressive_motion(
        np.zeros((4, 478, 3)), emotion_curve("surprised", 1.0, 4), portrait.normalized, np.zeros(4)
    )
    normalized = apply_blink(portrait.normalized + surprise, np.array([0, 0.3, 0.8, 1]))
    turns = np.array([[2.0, 1, 0], [5, -2, 1], [-6, 2, 2], [9, -3, -2]])
    return PosedFace(normalized, replace(portrait.pose.held(4), rotation=portrait.pose.rotation + turns))


@pytest.mark.parametrize("sigma", [0, 3], ids=["sharp", "soft"])
def test_no_value_is_read_back_between_motion_and_picture(generator, wearer, sigma):
    # Tensors on the meta device have no values, so reading any of them is an error.
    meta = torch.device("meta")
    prepared = place(generator.prepare(blurred(wearer, sigma) if sigma else wearer), meta)
    for face in (lively_face(wearer), posed(wearer, yaw=20)):
        frames = MeshWarpGenerator(meta).draw(prepared, face)
        assert frames.shape == (len(face), 512, 512, 3)
        assert frames.dtype == torch.uint8


@pytest.mark.parametrize("bicubic", [False, True], ids=["bilinear", "bicubic"])
def test_opencv_and_torch_compose_the_same_picture(generator, wearer, bicubic):
    canvas = replace(generator.prepare(wearer).canvas, bicubic=bicubic)
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, side) for side in canvas.centres.shape[1:3]), indexing="ij")
    waves = torch.stack([3 * torch.sin(4 * y) + x, 2 * torch.cos(3 * x)], -1)
    shade = 1 - 0.3 * torch.exp(-8 * (x**2 + y**2))[None, None, 1:-1, 1:-1].expand(1, 3, -1, -1)
    places, offsets = canvas.centres + waves, waves[1:-1, 1:-1][None]
    pictures = [draw(canvas, Warp(offsets), places, shade) for draw in (compose_in_opencv, compose_in_torch)]
    one, other = (picture.numpy().astype(int) for picture in pictures)
    assert np.abs(one - canvas.still.numpy()).mean() > 2
    assert np.abs(one - other).mean() < 0.3
    assert np.percentile(np.abs(one - other), 99.9) <= 3


@pytest.mark.parametrize("sigmas", [(2.5, 2.5), (0.0, 2.5)], ids=["all_round", "upright"])
def test_opencv_and_torch_soften_the_same_edges(generator, wearer, sigmas):
    canvas = generator.prepare(wearer).canvas
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, side) for side in canvas.centres.shape[1:3]), indexing="ij")
    share = (1.5 - 6 * torch.hypot(x - 0.1, y)).clamp(0, 1)[None, None].expand(2, -1, -1, -1)
    pictures = [canvas.still[None].repeat(2, 1, 1, 1) for _ in range(2)]
    for picture, soften in zip(pictures, (soften_in_opencv, soften_in_torch), strict=True):
        soften(picture, canvas.grid, sigmas, share)
    one, other = (picture.numpy().astype(int) for picture in pictures)
    assert np.abs(one - canvas.still.numpy()).max() > 20
    assert np.abs(one - other).max() <= 2


def test_opencv_and_torch_blur_alike():
    pictures = torch.rand(2, 4, 40, 60, generator=torch.Generator().manual_seed(1))
    for channels in (1, 4):
        one, other = (blur(pictures[:, :channels], 2.5) for blur in (blur_in_opencv, blur_in_torch))
        torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


def test_opencv_and_torch_draw_the_same_back_of_a_head(generator, wearer):
    canvas = generator.prepare(wearer).canvas
    y, x = torch.meshgrid(
        *(torch.linspace(-1, 1, side) for side in (canvas.grid.rows, canvas.grid.columns)), indexing="ij"
    )
    drawn = (torch.hypot(x - 0.3, y) < 0.4).float()
    cells = (
        torch.stack([60 + 50 * x, 60 + 50 * y, *torch.tensor([0.7, 0.8, 1]).expand(*x.shape, 3).unbind(-1)], -1)
        * drawn[..., None]
    )
    texture = torch.randint(0, 256, (8, 8, 4), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    texture = texture.repeat_interleave(16, 0).repeat_interleave(16, 1)
    back = DrawnBack(texture, cells[None])
    offsets = torch.zeros(1, canvas.grid.rows, canvas.grid.columns, 2)
    pictures = [
        draw(canvas, Warp(offsets, back=back), canvas.centres) for draw in (compose_in_opencv, compose_in_torch)
    ]
    one, other = (picture.numpy().astype(int) for picture in pictures)
    assert np.abs(one - canvas.still.numpy()).mean() > 0.5
    assert np.abs(one - other).mean() < 0.3
    assert np.percentile(np.abs(one - other), 99.9) <= 3


@pytest.mark.parametrize("yaw", [-30, 30])
def test_the_back_of_a_head_is_drawn_to_its_edge_in_whatever_tiles(generator, portrait, monkeypatch, yaw):
    prepared, face = generator.prepare(portrait), posed(portrait, yaw=yaw)
    pictures = []
    for tile in ((32, 64), (512, 512)):
        monkeypatch.setattr(tiles, "TILE", tile)
        pictures.append(generator.render_batch(prepared, face).astype(int))
    assert np.abs(pictures[0] - pictures[1]).max() <= 3


def test_opencv_and_torch_draw_the_same_edge_in_front_of_something_else(generator, wearer):
    canvas = generator.prepare(wearer).canvas
    offsets = torch.zeros(1, canvas.grid.rows, canvas.grid.columns, 2)
    offsets[:, 40:150, 80:160] = torch.tensor([20.0, 4.0])
    _, places = compose(canvas, Warp(offsets))
    pictures = [draw(canvas, Warp(offsets), places) for draw in (compose_in_opencv, compose_in_torch)]
    one, other = (picture.numpy().astype(int) for picture in pictures)
    assert np.abs(one - canvas.still.numpy()).max() > 20
    assert np.abs(one - other).mean() < 0.3
    assert np.percentile(np.abs(one - other), 99.9) <= 8  # places are steep there


def test_hair_that_is_pushed_together_becomes_grey_and_not_dots(generator, wearer):
    canvas = generator.prepare(wearer).canvas
    strands = torch.zeros_like(canvas.layer)
    strands[:, ::3, :3] = 200
    canvas = replace(canvas, layer=strands)
    left, top, cell = canvas.grid.left, canvas.grid.top, canvas.grid.cell
    offsets = torch.zeros(1, canvas.grid.rows, canvas.grid.columns, 2)
    offsets[:, 40:150, 80:120, 0] = 1.1 * cell * torch.arange(40)  # 2.1 pixels of the photo in one of the film
    _, places = compose(canvas, Warp(offsets))
    inside = np.s_[0, top + 60 * cell : top + 130 * cell, left + 90 * cell : left + 110 * cell, 1]
    one, other = (
        draw(canvas, Warp(offsets), places).numpy()[inside].astype(float)
        for draw in (compose_in_opencv, compose_in_torch)
    )
    assert one.std() < 50  # sampled once a pixel it would be 68
    assert np.abs(one - other).mean() < 2


def test_opencv_and_torch_draw_the_same_far_side(generator, wearer):
    canvas = generator.prepare(wearer).canvas
    share = canvas.layer[None, None, ::2, ::2, 3].float() / 255
    outline = F.max_pool2d(share, 9, 1, 4).expand(-1, 2, -1, -1)
    mirrored = canvas.layer[..., [2, 0, 1, 3]].contiguous()
    canvas = replace(canvas, far=FarLayer(mirrored, outline, outline[:, :1], 1 - outline[:, :1]))
    offsets = torch.zeros(1, canvas.grid.rows, canvas.grid.columns, 2)
    offsets[:, :, 60:140, 0] = 20 * torch.sin(torch.linspace(0, 2 * torch.pi, 80))  # stretched in the middle
    y, x = torch.meshgrid(*(torch.linspace(0, 1, side) for side in offsets.shape[1:3]), indexing="ij")
    hidden, whole, beside = (x - 0.2).clamp(min=0), torch.ones_like(x), (y - 0.5).clamp(min=0)
    far = torch.stack([40 * x, 10 * y, hidden, whole, whole, y, beside], -1)[None]
    _, places = compose(canvas, Warp(offsets))
    pictures = [draw(canvas, Warp(offsets, far), places) for draw in (compose_in_opencv, compose_in_torch)]
    one, other = (picture.numpy().astype(int) for picture in pictures)
    without = compose(canvas, Warp(offsets))[0].numpy().astype(int)
    assert np.abs(one - without).max() > 20
    assert np.abs(one - other).mean() < 0.3
    assert np.percentile(np.abs(one - other), 99.9) <= 8  # places are steep there


def test_opencv_and_torch_draw_the_same_glasses(generator, wearer):
    glasses = generator.prepare(wearer).glasses
    height, width = (side // glasses.density for side in glasses.layer.shape[:2])
    x, y = (torch.arange(-1, side // glasses.cell + 1) * 1.97 * glasses.density for side in (width, height))
    places = torch.stack(torch.meshgrid(x - 3, y + 2, indexing="xy"), -1)[None]
    facing = torch.linspace(0, 1, places.shape[2]).expand(places.shape[:3])
    pictures = [torch.full((1, height, width, 3), 200, dtype=torch.uint8) for _ in range(2)]
    for picture, draw in zip(pictures, (draw_in_opencv, draw_in_torch), strict=True):
        draw(picture, glasses, places, facing)
    one, other = (picture.numpy().astype(int) for picture in pictures)
    assert np.abs(one - 200).max() > 100
    assert np.abs(one - other).mean() < 0.3
    assert np.percentile(np.abs(one - other), 99.9) <= 8  # at rims' edges


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_batch_on_cuda_waits_for_nothing(wearer):
    generator, face = MeshWarpGenerator("cuda"), lively_face(wearer)
    prepared = generator.prepare(wearer)
    generator.draw(prepared, face)  # whatever is made once
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        frames = generator.draw(prepared, face)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    on_cpu = MeshWarpGenerator("cpu")
    expected = on_cpu.draw(on_cpu.prepare(wearer), face).numpy().astype(int)
    assert np.abs(frames.cpu().numpy() - expected).mean() < 1
