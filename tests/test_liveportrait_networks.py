"""The five networks of LivePortrait: the same outputs as the original code, published files read, bad files refused."""

import json
import os
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from space_core.errors import SpaceError
from space_core.generator.liveportrait import LivePortraitNetworks, load_networks
from space_core.generator.liveportrait.checkpoints import NAMES, load_checkpoint, save_checkpoint
from space_core.generator.liveportrait.layout import Layout
from space_core.generator.liveportrait.random_weights import random_networks, random_state_dict
from space_core.generator.liveportrait.spade_generator import SpectralConv2d

# What the original code computed with the same random weights and inputs: by network, some values and their mean
# magnitude. Made by the original modules of github.com/KwaiVGI/LivePortrait, float32 on a CPU.
ORIGINAL = json.loads((Path(__file__).parent / "liveportrait_outputs.json").read_text())
SMALL = Layout(
    channels=8,
    volume_channels=4,
    volume_depth=8,
    volume_blocks=2,
    motion_channels=(8, 16, 32, 64),
    motion_blocks=(1, 1, 2, 1),
    flow_channels=8,
    flow_max_channels=32,
    flow_steps=3,
    flow_features=2,
)
TOLERANCE = 1e-4
SEED = 7


def example_inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A picture (1, 3, 256, 256), and source and driving keypoints (1, 21, 3)."""
    random = torch.Generator().manual_seed(3)
    picture = torch.rand(1, 3, 32, 32, generator=random).repeat_interleave(8, -1).repeat_interleave(8, -2)
    source = torch.rand(1, 21, 3, generator=random) * 1.2 - 0.6
    return picture, source, source + 0.1 * torch.randn(1, 21, 3, generator=random)


def outputs(networks: LivePortraitNetworks) -> dict[str, torch.Tensor]:
    """The output of every network, by name."""
    picture, source, driving = example_inputs()
    volume = networks.extract_appearance(picture)
    motion = networks.extract_motion(picture)
    stitching = networks.stitching_retargeting_module
    flat = source.flatten(1)
    warped = networks.warp(volume, source, driving)
    return {
        "appearance": volume,
        **{name: getattr(motion, name) for name in vars(motion)},
        "keypoints": networks.transform_keypoints(motion),
        "stitch": networks.stitch(source, driving),
        "lips": stitching.retarget_mouth(torch.cat([flat, flat[:, :2]], 1)),
        "eyes": stitching.retarget_eye(torch.cat([flat, flat[:, :3]], 1)),
        "warped": warped,
        "picture": networks.decode(warped),
    }


def summary(output: torch.Tensor) -> list[float]:
    """Up to sixteen values, evenly spaced, and the mean magnitude of all."""
    flat = output.detach().flatten()
    places = torch.linspace(0, len(flat) - 1, min(16, len(flat))).long()
    return [*flat[places].tolist(), flat.double().abs().mean().item()]


@pytest.fixture(scope="module")
def published(folder) -> LivePortraitNetworks:
    """Networks of the published sizes, as they are read from files in the published forms."""
    return load_networks(folder)


@pytest.mark.parametrize("layout", ["small", pytest.param("published", marks=pytest.mark.slow)])
def test_every_network_computes_what_the_original_code_does(layout, request):
    is_small = layout == "small"
    networks = random_networks(SEED, SMALL).ready("cpu") if is_small else request.getfixturevalue("published")
    computed = {name: summary(output) for name, output in outputs(networks).items()}
    assert computed.keys() == ORIGINAL[layout].keys()
    for name, values in ORIGINAL[layout].items():
        assert computed[name] == pytest.approx(values, abs=TOLERANCE), name


def test_names_and_shapes_are_those_of_the_published_weights():
    with torch.device("meta"):
        networks = LivePortraitNetworks()
    for name in NAMES:
        shapes = {key: list(t.shape) for key, t in networks.get_submodule(name).state_dict().items()}
        published = ORIGINAL["layout"][name]
        assert len(shapes) == published["tensors"]
        assert sum(torch.Size(shape).numel() for shape in shapes.values()) == published["values"]
        assert {key: shapes[key] for key in published["some"]} == published["some"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with random weights in both of the published forms, in the folders of the first publisher."""
    root = tmp_path_factory.mktemp("weights")
    base, retargeting = root / "liveportrait/base_models", root / "liveportrait/retargeting_models"
    base.mkdir(parents=True)
    retargeting.mkdir()
    networks = random_networks(SEED)
    for name in NAMES[:2]:
        save_file(networks.get_submodule(name).state_dict(), base / f"{name}.safetensors")
    for name in NAMES[2:4]:
        torch.save(networks.get_submodule(name).state_dict(), base / f"{name}.pth")
    nested: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in networks.stitching_retargeting_module.state_dict().items():
        network, _, rest = key.partition(".")
        nested.setdefault(network, {})[f"module.{rest}"] = tensor
    torch.save(nested, retargeting / f"{NAMES[4]}.pth")
    return root


def test_the_other_publication_of_the_stitching_networks_is_loaded(tmp_path):
    network = random_networks(SEED, SMALL).stitching_retargeting_module
    tensors = {key.replace(".", "_module.", 1): tensor for key, tensor in network.state_dict().items()}
    path = tmp_path / "stitching_retargeting_module.safetensors"
    save_file(tensors, path)
    other = random_networks(SEED + 1, SMALL).stitching_retargeting_module
    load_checkpoint(path, other)
    assert all(torch.equal(other.state_dict()[key], tensor) for key, tensor in network.state_dict().items())


def test_files_may_say_another_layout(tmp_path):
    layout = replace(SMALL, input_size=64, modulation_channels=16)
    networks = random_networks(SEED, layout)
    for name in NAMES:
        save_checkpoint(tmp_path / f"{name}.safetensors", networks.get_submodule(name), layout)
    loaded = load_networks(tmp_path)
    assert loaded.layout == layout
    picture, source, driving = example_inputs()
    volume = loaded.extract_appearance(picture[..., ::4, ::4])
    assert volume.shape == (1, 4, 8, 16, 16)
    assert loaded.render(volume, source, driving).shape == (1, 3, 128, 128)
    network = networks.get_submodule(NAMES[0])
    wrong_layouts = '"channels": 0', '"channels": 1000000000', '"channels": "8"', '"input_size": 65', '"a": 1', "["
    for wrong in (*wrong_layouts, '"a": ' + "[" * 9000):
        save_file(network.state_dict(), tmp_path / f"{NAMES[0]}.safetensors", {"layout": f"{{{wrong}}}"})
        with pytest.raises(SpaceError, match="is damaged"):
            load_networks(tmp_path)


class Malice:
    """Leaves a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_files_that_cannot_be_used_are_refused_with_a_sentence(tmp_path):
    network = random_networks(SEED, SMALL).motion_extractor
    tensors = network.state_dict()
    good, path = tmp_path / "good.safetensors", tmp_path / "motion_extractor.pth"
    save_file(tensors, good)

    def refusal(file: Path) -> str:
        with pytest.raises(SpaceError) as refused:
            load_checkpoint(file, network)
        assert str(refused.value).count(". ") <= 1
        return str(refused.value)

    (truncated := tmp_path / "truncated.safetensors").write_bytes(good.read_bytes()[:-100])
    assert "is damaged" in refusal(truncated)
    torch.save(tensors, path)
    (cut := tmp_path / "cut.pth").write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "is damaged" in refusal(cut)
    path.write_bytes(b"<html>not found</html>")
    assert "is damaged" in refusal(path)
    path.write_bytes(b"")
    assert "is damaged" in refusal(path)
    path.write_bytes(pickle.dumps(Malice(tmp_path / "ran"), protocol=2))
    assert "might run code" in refusal(path)
    torch.save({"detector": Malice(tmp_path / "ran")}, path)
    assert "might run code" in refusal(path)
    assert not (tmp_path / "ran").exists()
    torch.save({**tensors, "detector.fc_t.bias": torch.zeros(4)}, path)
    assert "detector.fc_t.bias" in refusal(path)
    torch.save({"model": 3}, path)
    assert "differ in name or shape" in refusal(path)
    torch.save({**tensors, "detector.fc_t.bias": torch.full((3,), torch.nan)}, path)
    assert "not finite" in refusal(path)
    assert "can't be read" in refusal(tmp_path / "nothing.pth")


def test_missing_folders_and_files_are_named(tmp_path):
    with pytest.raises(SpaceError, match="There is no folder"):
        load_networks(tmp_path / "nowhere")
    with pytest.raises(SpaceError, match="no appearance_feature_extractor and no motion_extractor"):
        load_networks(tmp_path)


def test_wrong_shapes_are_refused_with_a_sentence():
    networks = random_networks(SEED, SMALL).ready("cpu")
    picture, source, driving = example_inputs()
    with pytest.raises(SpaceError, match=r"image must have the shape \(B, 3, 256, 256\)"):
        networks.extract_motion(picture[..., :128])
    with pytest.raises(SpaceError, match="There are 2 sources"):
        networks.stitch(source.expand(2, -1, -1), driving)


@pytest.mark.slow
def test_frames_of_a_batch_are_rendered_as_if_alone():
    networks = random_networks(SEED, SMALL).ready("cpu")
    picture, source, driving = example_inputs()
    volume = networks.extract_appearance(picture)
    both = networks.render(volume, source, torch.cat([source, driving]))
    assert both.shape == (2, 3, 512, 512)
    assert torch.allclose(both[1:], networks.render(volume, source, driving), atol=1e-3)


@pytest.mark.slow
def test_the_networks_can_be_exported():
    networks = random_networks(SEED, SMALL).ready("cpu")
    picture, source, driving = example_inputs()
    volume = networks.extract_appearance(picture)
    with torch.no_grad():
        exported = torch.export.export(networks.warping_module, (volume.clone(), source, driving)).module()
        assert torch.allclose(
            exported(volume.clone(), source, driving), networks.warping_module(volume, source, driving), atol=1e-5
        )


def test_spectral_norm_is_followed_in_float32_by_training_in_bfloat16():
    torch.manual_seed(2)
    convolution = SpectralConv2d(6, 8, 3)
    with torch.autocast("cpu", torch.bfloat16):
        for _ in range(50):
            assert convolution(torch.rand(1, 6, 8, 8)).dtype == torch.bfloat16
    assert convolution.weight_u.dtype == convolution.weight_v.dtype == torch.float32
    assert torch.linalg.matrix_norm(convolution.fold().weight.detach().flatten(1), 2) == pytest.approx(1, abs=1e-3)


def test_random_weights_are_the_same_for_the_same_seed():
    network = LivePortraitNetworks(SMALL)
    one, same, other = (random_state_dict(network, seed) for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["motion_extractor.detector.fc_t.bias"], other["motion_extractor.detector.fc_t.bias"])
