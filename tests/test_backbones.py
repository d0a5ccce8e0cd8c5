"""Backbones: equal to torchvision's dilated ResNets, strict about weights, clear about what is missing."""

import json
import os
import re
from dataclasses import asdict
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from core.networks.backbones import Backbone, build, normalisation
from core.networks.features import Features
from core.networks.known import NETWORKS, TimmNetwork, described
from core.networks.pretrained import load_weights

TINY = Backbone("resnet10_tiny")

pytestmark = pytest.mark.usefixtures("one_thread")


def with_statistics(network: nn.Module) -> nn.Module:
    """Give every BatchNorm statistics, scales and shifts that matter, as training would."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.uniform_(module.bias, -0.1, 0.1)
    return network


def torchvision_features(network: torchvision.models.ResNet, image: Tensor) -> list[Tensor]:
    """C1 to C4, by torchvision's own modules."""
    maps = [network.maxpool(network.relu(network.bn1(network.conv1(image))))]
    for stage in (network.layer1, network.layer2, network.layer3, network.layer4):
        maps.append(stage(maps[-1]))
    return maps[1:]


def body_tensors(network: nn.Module) -> dict[str, Tensor]:
    """The tensors of a torchvision network that a backbone has too."""
    return {key: value for key, value in network.state_dict().items() if not key.startswith("fc.")}


def parameters(backbone: Backbone) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build(backbone).parameters())


@pytest.fixture
def image() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(1, 3, 65, 97)


@pytest.fixture(scope="module")
def resnet18() -> nn.Module:
    torch.manual_seed(1)
    return with_statistics(torchvision.models.resnet18(weights=None)).eval()


@pytest.fixture
def no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache and no Hub: the computer of somebody on a train."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


# ---------------------------------------------------------------------------------------------------------- networks


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "output_stride", "multi_grid"),
    [
        ("resnet50", 8, None),
        ("resnet50", 16, None),
        ("resnet50", 32, None),
        ("resnet50", 8, (4, 8, 16)),
        ("resnet50", 16, (1, 2, 4)),
        ("resnet101", 8, (4, 8, 16)),
    ],
)
def test_features_equal_torchvision_bit_for_bit(name, output_stride, multi_grid, image):
    torch.manual_seed(2)
    dilated = {8: [False, True, True], 16: [False, False, True], 32: [False, False, False]}[output_stride]
    constructor = {"resnet50": torchvision.models.resnet50, "resnet101": torchvision.models.resnet101}[name]
    reference = with_statistics(constructor(weights=None, replace_stride_with_dilation=dilated)).eval()
    for block, rate in zip(reference.layer4, multi_grid or (), strict=bool(multi_grid)):
        block.conv2.dilation = block.conv2.padding = (rate, rate)

    features = build(Backbone(name, output_stride=output_stride, multi_grid=multi_grid)).eval()
    features.body.load_state_dict(body_tensors(reference), strict=True)

    with torch.inference_mode():
        for ours, theirs in zip(features(image), torchvision_features(reference, image), strict=True):
            assert torch.equal(ours, theirs)


@pytest.mark.slow
def test_multi_grid_changes_c4_alone_and_in_both_convolutions_of_a_basic_block(image):
    torch.manual_seed(3)
    plain = with_statistics(build(Backbone("resnet18"))).eval()
    gridded = build(Backbone("resnet18", multi_grid=(4, 8))).eval()
    gridded.load_state_dict(plain.state_dict())

    with torch.inference_mode():
        equal = [torch.equal(a, b) for a, b in zip(plain(image), gridded(image), strict=True)]
    assert equal == [True, True, True, False]
    dilations = [
        module.dilation
        for module in gridded.body.get_submodule("layer4").modules()
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3)
    ]
    assert dilations == [(4, 4), (4, 4), (8, 8), (8, 8)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "stem", "output_stride"),
    [
        (name, stem, output_stride)
        for name, row in NETWORKS.items()
        for stem in row.stems
        for output_stride in row.output_strides
        if stem == row.stems[0] or output_stride == row.output_strides[0]  # a stem knows nothing of the strides
    ],
)
def test_channels_and_strides_are_those_of_the_maps(name, stem, output_stride):
    with torch.device("meta"):
        features = build(Backbone(name, stem, output_stride))
        maps = features(torch.empty(1, 3, 769, 513))

    assert features.strides == (4, 8, min(16, output_stride), output_stride)
    assert features.channels == tuple(map_.shape[1] for map_ in maps)
    for map_, stride in zip(maps, features.strides, strict=True):
        assert map_.shape[2:] == (-(-769 // stride), -(-513 // stride))
    if output_stride == 8:
        assert [map_.shape[2] for map_ in maps] == [193, 97, 97, 97]


@pytest.mark.parametrize(
    ("name", "stem", "count"),
    [
        ("resnet10_tiny", "plain", 187_192),
        ("resnet16_tiny", "plain", 337_556),
        ("resnet18", "plain", 11_176_512),  # 11,689,512 with torchvision's classifier of 513,000
        ("resnet18", "deep64", 11_324_992),
        ("resnet50", "plain", 23_508_032),
        ("resnet50", "deep32", 23_527_264),
        ("resnet50", "deep64", 23_631_808),
        ("resnet101", "deep64", 42_623_936),
        ("hrnet_w48", "plain", 65_325_120),
    ],
)
def test_parameter_counts(name, stem, count):
    assert parameters(Backbone(name, stem, 32)) == count


@pytest.mark.parametrize("size", [(33, 70), (64, 96)])
def test_sides_that_must_be_divisible_are_padded_and_the_maps_cut(size, image):
    torch.manual_seed(5)
    tiny = with_statistics(build(Backbone("resnet10_tiny", output_stride=32))).eval()
    padding = Features(tiny.body, tiny.channels, tiny.strides, multiple=32)
    picture = image[..., :32, :70].repeat(1, 1, 2, 2)[..., : size[0], : size[1]]
    whole = torch.zeros(1, 3, 64, 96)
    whole[..., : size[0], : size[1]] = picture
    with torch.inference_mode():
        for ours, theirs, stride in zip(padding(picture), tiny.body(whole), (4, 8, 16, 32), strict=True):
            assert torch.equal(ours, theirs[..., : -(-size[0] // stride), : -(-size[1] // stride)])


@pytest.mark.slow
def test_an_hrnet_has_the_keys_of_its_classifier_without_the_classification_modules():
    with torch.device("meta"):
        classifier = timm.create_model("hrnet_w48").state_dict()
        ours = build(Backbone("hrnet_w48", output_stride=32)).body.state_dict()
    prefixes = NETWORKS["hrnet_w48"].classifier
    assert {key for key in classifier if not key.startswith(prefixes)} == set(ours)
    assert all(any(key.startswith(prefix) for key in classifier) for prefix in prefixes)


@pytest.mark.parametrize(("stem", "widths"), [("deep32", [32, 32, 64]), ("deep64", [64, 64, 128])])
def test_a_deep_stem_is_three_small_convolutions(stem, widths):
    with torch.device("meta"):
        network = build(Backbone("resnet18", stem)).body
    convolutions = [m for m in network.get_submodule("conv1").modules() if isinstance(m, nn.Conv2d)]
    assert [convolution.out_channels for convolution in convolutions] == widths
    assert {convolution.kernel_size for convolution in convolutions} == {(3, 3)}


def test_every_parameter_of_the_tiny_network_learns(image):
    torch.manual_seed(4)
    features = with_statistics(build(TINY)).train()
    sum(map_.square().mean() for map_ in features(image.repeat(2, 1, 1, 1))).backward()
    assert all(parameter.requires_grad and parameter.grad.abs().sum() > 0 for parameter in features.parameters())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("row", "output_stride", "channels", "strides"),
    [
        (
            TimmNetwork("hrnet_w48", 0, {"feature_location": ""}, stems=("plain",), output_strides=(32,)),
            32,
            (48, 96, 192, 384),
            (4, 8, 16, 32),
        ),
        (TimmNetwork("tf_efficientnet_b7", 0, stems=("plain",)), 8, (48, 80, 224, 640), (4, 8, 8, 8)),
    ],
)
def test_another_timm_network_is_one_row(row, output_stride, channels, strides, monkeypatch):
    monkeypatch.setitem(NETWORKS, "resnet34", row)
    backbone = Backbone("resnet34", output_stride=output_stride)
    with torch.device("meta"):
        features = build(backbone)
        shapes = [map_.shape[1:] for map_ in features(torch.empty(1, 3, 64, 96))]
    assert (features.channels, features.strides) == (channels, strides)
    assert shapes == [(c, 64 // s, 96 // s) for c, s in zip(channels, strides, strict=True)]
    with pytest.raises(ValueError, match="needs a ResNet"):
        Backbone("resnet34", output_stride=output_stride, multi_grid=(4, 8, 16))


# --------------------------------------------------------------------------------------------- other networks of timm

OTHERS = [
    ("convnext_atto", 8, (40, 80, 160, 320), (4, 8, 8, 8)),
    ("convnext_atto", 32, (40, 80, 160, 320), (4, 8, 16, 32)),
    ("resnet18d", 16, (64, 128, 256, 512), (4, 8, 16, 16)),
    ("resnet18.a1_in1k", 8, (64, 128, 256, 512), (4, 8, 8, 8)),
    ("swin_tiny_patch4_window7_224", 32, (96, 192, 384, 768), (4, 8, 16, 32)),
    ("vit_tiny_patch16_224", 16, (192, 192, 192, 192), (16, 16, 16, 16)),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "output_stride", "channels", "strides"), OTHERS)
def test_any_other_network_of_timm_gives_four_maps(name, output_stride, channels, strides):
    with torch.device("meta"):
        features = build(Backbone(name, output_stride=output_stride))
        shapes = [tuple(map_.shape) for map_ in features.eval()(torch.empty(2, 3, 65, 97))]
    assert (features.channels, features.strides) == (channels, strides)
    assert shapes == [(2, c, -(-65 // s), -(-97 // s)) for c, s in zip(channels, strides, strict=True)]


@pytest.mark.slow
def test_another_network_has_what_timm_says_of_it():
    assert normalisation(Backbone("vit_tiny_patch16_224", output_stride=16)) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert described("resnet18d").hub == {"plain": "resnet18d.ra2_in1k"}
    assert described("resnet18.a1_in1k").hub == {"plain": "resnet18.a1_in1k"}
    assert described("resnet18") is NETWORKS["resnet18"]


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        (
            "vgg11",
            {},
            "vgg11 at output stride 8, only 32: its maps have the strides 4, 8, 16, 32, and it can't.*32",
        ),
        ("vit_tiny_patch16_224", {}, "at output stride 8, only 16: its maps have the strides 16, 16, 16, 16, and"),
        (
            "resnet18d",
            {"output_stride": 4},
            "at output stride 4, only 8, 16, 32: its maps have the strides 4, 8, ",
        ),
        ("resnet18d", {"multi_grid": (4, 8)}, "needs a ResNet whose last stage is dilated"),
        ("resnet18d", {"stem": "deep64"}, "resnet18d with the stem 'deep64', only plain"),
        ("levit_128s", {}, "levit_128s is no backbone: it gives no four maps of images of any size"),
        ("resnet18.absent", {}, "resnet18.absent is no backbone: .*Invalid pretrained tag"),
        ("resnet18dd", {}, r"no backbone 'resnet18dd'.*or any of timm\.list_models\(\), such as resnet18d"),
        ("hf-hub:org/name", {}, "no backbone 'hf-hub:org/name'"),
    ],
)
def test_what_another_network_can_not_do_is_said(name, fields, message):
    with pytest.raises(ValueError, match=message):
        Backbone(name, **fields)


def in_the_names_of_its_authors(name: str) -> str:
    """The name of a weight of ConvNeXt in its first release."""
    name = re.sub(r"^stem\.", "downsample_layers.0.", name)
    name = re.sub(r"stages\.(\d+)\.downsample\.", r"downsample_layers.\1.", name).replace(".blocks", "")
    name = name.replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv")
    return name.replace("head.norm", "norm").replace("head.fc", "head")


@pytest.mark.slow
@pytest.mark.parametrize("names", ["timm", "timm, without classifier", "its authors'"])
def test_weights_of_another_network_load_strictly(names, tmp_path, image):
    torch.manual_seed(0)
    whole = timm.create_model("convnext_atto")
    tensors = whole.state_dict()
    if names == "timm, without classifier":
        tensors = {name: value for name, value in tensors.items() if not name.startswith("head.")}
    if names == "its authors'":
        tensors = {in_the_names_of_its_authors(name): value for name, value in tensors.items()}
    save_file(tensors, tmp_path / "w.safetensors")
    backbone = Backbone("convnext_atto", output_stride=32)
    features = build(backbone).eval()
    load_weights(features, backbone, tmp_path / "w.safetensors")
    with torch.inference_mode():
        expected = whole.eval().forward_intermediates(image[..., :64, :96], intermediates_only=True)[-4:]
        for ours, theirs in zip(features(image[..., :64, :96]), expected, strict=True):
            torch.testing.assert_close(ours, theirs)

    tensors["surplus"] = torch.ones(1)
    removed = next(name for name in tensors if name.endswith("bias"))
    del tensors[removed]
    save_file(tensors, tmp_path / "w.safetensors")
    with pytest.raises(
        ValueError, match=r"w\.safetensors does not fit convnext_atto .*; missing: .*bias.*; unexpected: .*"
    ):
        load_weights(features, backbone, tmp_path / "w.safetensors")


# ------------------------------------------------------------------------------------------------------- descriptions


@pytest.mark.parametrize("backbone", [Backbone(), Backbone("resnet50", "deep64", 16, (4, 8, 16))])
def test_a_backbone_is_json(backbone, no_type_checks):
    again = Backbone(**json.loads(json.dumps(asdict(backbone))))
    assert again == backbone
    assert hash(again) == hash(backbone)


def test_normalisation_is_imagenets():
    assert normalisation(Backbone()) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "resnet1O1"}, "no backbone 'resnet1O1'.*did you mean 'resnet101'"),
        ({"name": "vit"}, "no backbone 'vit', only resnet10_tiny, resnet16_tiny, resnet18, "),
        ({"stem": "deep"}, "resnet101 with the stem 'deep'.*did you mean 'deep"),
        ({"name": "resnet10_tiny", "stem": "deep64"}, "resnet10_tiny with the stem 'deep64', only plain"),
        ({"output_stride": 4}, "resnet101 at output stride 4, only 8, 16, 32"),
        ({"multi_grid": (4, 8)}, r"needs 3 dilations.*got \(4, 8\)"),
        ({"multi_grid": ()}, r"needs 3 dilations.*got \(\)"),
        ({"multi_grid": (4, 8, 0)}, "of at least 1"),
        ({"name": "resnet18", "multi_grid": (4, 8, 16)}, "needs 2 dilations"),
        ({"output_stride": 32, "multi_grid": (4, 8, 16)}, "set output_stride to 8 or 16"),
    ],
)
def test_what_cannot_be_built_is_refused_at_construction(fields, message, no_type_checks):
    with pytest.raises(ValueError, match=message):
        Backbone(**fields)


# ------------------------------------------------------------------------------------------------------------ weights


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["safetensors", "pth", "state_dict", "model", "module", "no counters"])
def test_weights_in_torchvisions_names_load_from_every_kind_of_file(kind, resnet18, image, tmp_path):
    tensors = dict(resnet18.state_dict())
    path = tmp_path / ("weights.safetensors" if kind == "safetensors" else "weights.pth")
    if kind == "safetensors":
        save_file(tensors, path)
    elif kind in ("state_dict", "model"):
        torch.save({kind: tensors, "epoch": 90}, path)
    elif kind == "module":
        torch.save({"state_dict": {f"module.{key}": value for key, value in tensors.items()}}, path)
    elif kind == "no counters":
        torch.save({key: value for key, value in tensors.items() if "num_batches" not in key}, path)
    else:
        torch.save(resnet18.state_dict(), path)

    backbone = Backbone("resnet18", output_stride=32)
    features = build(backbone).eval()
    load_weights(features, backbone, str(path))
    with torch.inference_mode():
        for ours, theirs in zip(features(image), torchvision_features(resnet18, image), strict=True):
            assert torch.equal(ours, theirs)


def test_half_precision_becomes_the_dtype_of_the_network(resnet18, tmp_path):
    tensors = body_tensors(resnet18)
    halves = {key: value.half() if value.is_floating_point() else value for key, value in tensors.items()}
    save_file(halves, tmp_path / "half.safetensors")
    backbone = Backbone("resnet18")
    features = build(backbone)
    load_weights(features, backbone, tmp_path / "half.safetensors")
    for key, value in features.body.state_dict().items():
        assert value.dtype == (torch.int64 if key.endswith("num_batches_tracked") else torch.float32)
        assert torch.equal(value, halves[key].to(value.dtype))


def test_none_leaves_the_random_weights_as_they_are():
    features = build(TINY)
    before = {key: value.clone() for key, value in features.state_dict().items()}
    load_weights(features, TINY, "none")
    assert all(torch.equal(value, before[key]) for key, value in features.state_dict().items())


def saved(features: Features, path: Path, changes: dict[str, Tensor | None]) -> Path:
    """Save the weights of `features` with some tensors replaced, or removed where None."""
    tensors = features.body.state_dict() | changes
    save_file({key: value for key, value in tensors.items() if value is not None}, path)
    return path


def test_weights_of_another_network_are_refused_with_every_key_and_nothing_is_loaded(tmp_path):
    torch.manual_seed(5)
    changes = {"surplus.weight": torch.ones(2), "bn1.bias": None, "layer4.0.conv1.weight": torch.ones(96, 48, 1, 1)}
    path = saved(build(TINY), tmp_path / "other.safetensors", changes)
    features = build(TINY)
    before = {key: value.clone() for key, value in features.state_dict().items()}

    with pytest.raises(ValueError, match="does not fit resnet10_tiny with the plain stem") as refusal:
        load_weights(features, TINY, path)
    assert "missing: bn1.bias;" in str(refusal.value)
    assert "unexpected: surplus.weight;" in str(refusal.value)
    assert "layer4.0.conv1.weight (96, 48, 1, 1) instead of (96, 48, 3, 3)" in str(refusal.value)
    assert all(torch.equal(value, before[key]) for key, value in features.state_dict().items())


@pytest.mark.slow
def test_weights_of_another_stem_are_refused(tmp_path):
    path = saved(build(Backbone("resnet18")), tmp_path / "plain.safetensors", {})
    backbone = Backbone("resnet18", "deep64")
    with pytest.raises(ValueError, match=r"the deep64 stem; missing: conv1.0.weight.*unexpected: conv1.weight"):
        load_weights(build(backbone), backbone, path)


class Hostile:
    """Creates a file when it is unpickled without care."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self):
        return os.mkdir, (str(self.proof),)


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    torch.save({"state_dict": build(TINY).body.state_dict(), "note": Hostile(tmp_path / "proof")}, tmp_path / "bad.pth")
    with pytest.raises(ValueError, match="could run code and is not loaded"):
        load_weights(build(TINY), TINY, tmp_path / "bad.pth")
    assert not (tmp_path / "proof").exists()


def test_other_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file of weights"):
        load_weights(build(TINY), TINY, tmp_path / "absent.pth")
    with pytest.raises(
        ValueError,
        match=r"'gluon', 'csail', 'none' or a \.safetensors, .* or \.pth\.tar file, got 'imagenet'",
    ):
        load_weights(build(TINY), TINY, "imagenet")
    torch.save([torch.ones(1)], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="not a state dict"):
        load_weights(build(TINY), TINY, tmp_path / "list.pth")


def test_the_hub_out_of_reach_is_an_error_that_says_what_to_do(no_hub):
    backbone = Backbone("resnet18")
    with pytest.raises(OSError, match="cannot get the weights timm/resnet18") as refusal:
        load_weights(build(backbone), backbone, "hub")
    for part in (
        "hf download timm/resnet18.tv_in1k model.safetensors",
        "--backbone-weights FILE",
        "--backbone-weights none",
    ):
        assert part in str(refusal.value)


@pytest.mark.slow
def test_weights_in_the_hubs_cache_load_without_the_hub(no_hub, resnet18):
    repository = no_hub / "models--timm--resnet18.tv_in1k"
    commit = "0" * 40
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots" / commit).mkdir(parents=True)
    save_file(resnet18.state_dict(), repository / "snapshots" / commit / "model.safetensors")

    backbone = Backbone("resnet18")
    features = build(backbone)
    load_weights(features, backbone, "hub")
    assert all(torch.equal(value, resnet18.state_dict()[key]) for key, value in features.body.state_dict().items())


@pytest.mark.parametrize("backbone", [TINY, Backbone("resnet18", "deep64")])
def test_hub_weights_that_do_not_exist_are_refused_by_name(backbone):
    with pytest.raises(ValueError, match=f"no weights 'hub' for {backbone.name} with.*resnet101 with deep64"):
        load_weights(build(backbone), backbone, "hub")


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_real_imagenet_weights_load_and_give_finite_features(name, image):
    shared = os.environ.get("SEGMENTATION_SHARED")
    if shared is None:
        pytest.skip("SEGMENTATION_SHARED names no folder with ImageNet weights")
    path = Path(shared) / "data" / "weights" / f"{name}_imagenet_fp16.safetensors"
    if not path.is_file():
        pytest.skip(f"there is no {path}")
    backbone = Backbone(name)
    features = build(backbone).eval()
    load_weights(features, backbone, path)
    with torch.inference_mode():
        assert all(map_.isfinite().all() and map_.std() > 0.01 for map_ in features(image))
