"""Images of other channels than red, green and blue, from the file to the answer."""

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from core.datasets.cache import Pixels
from core.datasets.samples import Pair, Pairs, plain_mapping, refuse_wrong_labels
from core.datasets.sets import folder
from core.datasets.transforms import TestSamples, TrainingSamples
from core.images.bands import header_of, read_channels, read_shown, shown
from core.images.classes import Classes
from core.images.pixels import Normalisation
from core.images.reading import Embedded
from core.networks.backbones import Backbone, build, normalisation
from core.networks.network import About
from core.networks.pretrained import load_weights
from core.recipe import Augmentation, Protocol
from hub import export
from papers.danet import Architecture, DANet

HEIGHT, WIDTH = 33, 41
VALUES = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 6), dtype=np.uint8)
CLASSES = Classes.coloured(("sky", "road"))


def numpy_file(path: Path, values: np.ndarray) -> Path:
    np.save(path, values)
    return path


def tiff(path: Path, values: np.ndarray, **options: Any) -> Path:
    tifffile.imwrite(path, values, photometric="minisblack", **options)
    return path


@pytest.mark.parametrize("channels", [2, 4, 5, 6])
def test_the_bands_of_a_file_are_read(channels: int, tmp_path: Path) -> None:
    values = VALUES[..., :channels]
    planes = np.moveaxis(values, -1, 0)
    files = [
        numpy_file(tmp_path / "a.npy", values),
        numpy_file(tmp_path / "b.npy", values.astype(np.uint16) * 257),
        tiff(tmp_path / "a.tif", values, planarconfig="contig"),
        tiff(tmp_path / "b.tif", planes, planarconfig="separate"),
        tiff(tmp_path / "c.tif", values.astype(np.uint16) * 257, planarconfig="contig", compression="zlib"),
    ]
    for file in files:
        for source in (file, Embedded(file.read_bytes(), "row 0")):
            assert np.array_equal(read_channels(source, channels), values), file
            assert header_of(source)[:2] == (WIDTH, HEIGHT)
    assert np.array_equal(read_shown(files[0]), shown(values))


def test_pictures_have_the_channels_that_a_network_takes(tmp_path: Path) -> None:
    Image.fromarray(VALUES[..., :4], "RGBA").save(tmp_path / "a.png")
    Image.fromarray(VALUES[..., 0]).save(tmp_path / "grey.png")
    assert np.array_equal(read_channels(tmp_path / "a.png", 4), VALUES[..., :4])
    assert np.array_equal(read_channels(tmp_path / "a.png", 3), VALUES[..., :3])
    assert np.array_equal(read_channels(tmp_path / "grey.png", 1), VALUES[..., :1])
    grey = np.array(Image.fromarray(VALUES[..., :3]).convert("L"))
    assert np.array_equal(read_channels(tmp_path / "a.png", 1), grey[..., None])
    assert np.array_equal(read_channels(numpy_file(tmp_path / "grey.npy", VALUES[..., 0]), 1), VALUES[..., :1])


@pytest.mark.parametrize(
    ("values", "channels", "message"),
    [
        (VALUES, 4, r"a\.npy has 6 channels, and the network takes 4; .*in-channels 6"),
        (VALUES, 3, r"a\.npy has 6 channels, and the network takes 3"),
        (VALUES[0, 0], 6, r"a\.npy has the size \(6,\); images are h w or h w c"),
        (VALUES.astype(np.float32), 6, "has values of the kind float32, and nothing says which is the darkest"),
        (VALUES.astype(np.int16), 6, "has values of the kind int16"),
        (np.array([{}]), 6, r"images are h w or h w c"),
    ],
)
def test_what_can_not_be_read_is_said(values: np.ndarray, channels: int, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        read_channels(numpy_file(tmp_path / "a.npy", values), channels)


def test_damaged_files_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in (numpy_file(tmp_path / "a.npy", VALUES), tiff(tmp_path / "a.tif", VALUES, planarconfig="contig")):
        file.write_bytes(file.read_bytes()[:-3000])
        with pytest.raises(ValueError, match=rf"{file.name} can't be read as an image"):
            read_channels(file, 6)
    file = numpy_file(tmp_path / "b.npy", VALUES)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match=r"b\.npy has too many pixels"):
        read_channels(file, 6)
    with pytest.raises(ValueError, match=r"no image file .*absent\.npy"):
        read_channels(tmp_path / "absent.npy", 6)


def own_folder(root: Path, channels: int) -> Path:
    for split in ("train", "val"):
        (root / split / "images").mkdir(parents=True)
        (root / split / "labels").mkdir()
        numpy_file(root / split / "images" / "a.npy", VALUES[..., :channels])
        Image.fromarray(VALUES[..., 0] % 2).save(root / split / "labels" / "a.png")
    (root / "classes.txt").write_text("sky\nroad\n")
    return root


def test_samples_have_the_channels_of_the_network(tmp_path: Path) -> None:
    pairs = folder.read(own_folder(tmp_path / "own", 5), "train")
    refuse_wrong_labels(pairs, quiet=True)
    colours = Normalisation(*normalisation(Backbone(in_channels=5)))
    image, labels = TestSamples(pairs, colours)[0]
    assert torch.equal(image, colours(torch.from_numpy(VALUES[..., :5]).permute(2, 0, 1)))
    assert labels.shape == (HEIGHT, WIDTH)
    assert np.array_equal(TestSamples(pairs, colours).picture(0), VALUES[..., :3])
    augmentation = Augmentation(crop=48, scale=(0.5, 1.5), brightness=0.2)
    sample, _ = TrainingSamples(pairs, augmentation, colours, seed=0)[(0, 0, 0)]
    assert sample.shape == (5, 48, 48)


def test_a_cache_keeps_channels_apart(tmp_path: Path) -> None:
    Image.fromarray(VALUES[..., :4], "RGBA").save(tmp_path / "a.png")
    pairs = Pairs([Pair(tmp_path / "a.png")], CLASSES, plain_mapping(CLASSES), labelled=False)
    for channels in (3, 4, 1, 4):
        assert Pixels(pairs, tmp_path / "cache", channels).image(0).shape == (HEIGHT, WIDTH, channels)


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 2, 4])
def test_the_first_convolution_is_folded_as_timm_does(channels: int, tmp_path: Path) -> None:
    whole = timm.create_model("resnet18")
    save_file(whole.state_dict(), tmp_path / "w.safetensors")
    for name in ("resnet18", "resnet18.a1_in1k"):
        backbone = Backbone(name, output_stride=32, in_channels=channels)
        features = build(backbone)
        load_weights(features, backbone, tmp_path / "w.safetensors")
        overlay = {"state_dict": whole.state_dict()}
        theirs = timm.create_model("resnet18", pretrained=True, pretrained_cfg_overlay=overlay, in_chans=channels)
        state = features.body.state_dict()
        assert all(torch.equal(state[key], value) for key, value in theirs.state_dict().items() if key in state)
        assert state["conv1.weight"].shape[1] == channels


def test_normalisation_follows_the_folding() -> None:
    assert normalisation(Backbone(in_channels=1)) == ((pytest.approx(0.449, abs=1e-3),), (pytest.approx(0.226),))
    mean, std = normalisation(Backbone(in_channels=4))
    assert (mean, std) == ((0.485, 0.456, 0.406, 0.485), (0.229, 0.224, 0.225, 0.229))
    with pytest.raises(ValueError, match="in_channels must be 1 to 255, got 0"):
        Backbone(in_channels=0)


def network(channels: int) -> DANet:
    torch.manual_seed(0)
    made = DANet(2, Architecture(Backbone("resnet10_tiny")), in_channels=channels)
    made.about = About(CLASSES, Protocol(crop=32, stride=16))
    return made.eval()


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 4])
def test_a_network_of_other_channels_is_saved_loaded_and_predicts(channels: int, tmp_path: Path) -> None:
    network(channels).save_pretrained(tmp_path / "saved")
    made = DANet.from_pretrained(tmp_path / "saved", verify=True)
    assert made.in_channels == made.architecture.backbone.in_channels == channels
    values = VALUES[..., :channels]
    tensor = torch.from_numpy(values).permute(2, 0, 1)
    answers = made.predict([values, tensor, numpy_file(tmp_path / "a.npy", values)])
    for answer in answers:
        torch.testing.assert_close(answer.probabilities, answers[0].probabilities)
    assert np.array_equal(np.asarray(answers[0].image), shown(values))
    with pytest.raises(ValueError, match=rf"takes an array of size h w {channels}.* got uint8 of size \(33, 41, 2\)"):
        made.predict(VALUES[..., :2])
    with pytest.raises(ValueError, match=rf"8-bit tensor of size {channels} h w"):
        made.predict(torch.zeros(2, 8, 8, dtype=torch.uint8))


def test_a_grey_network_takes_any_picture() -> None:
    made, picture = network(1), Image.fromarray(VALUES[..., :3])
    assert torch.equal(made.predict(picture).probabilities, made.predict(np.array(picture.convert("L"))).probabilities)


def test_a_network_of_four_channels_takes_pictures_with_four(tmp_path: Path) -> None:
    made, picture = network(4), Image.fromarray(VALUES[..., :4], "RGBA")
    content = BytesIO()
    picture.save(content, "PNG")
    (tmp_path / "a.png").write_bytes(content.getvalue())
    assert torch.equal(made.predict(picture).probabilities, made.predict(tmp_path / "a.png").probabilities)
    with pytest.raises(ValueError, match="the image has 3 channels, and the network takes 4"):
        made.predict(picture.convert("RGB"))


@pytest.mark.slow
def test_an_exported_network_has_its_channels(tmp_path: Path) -> None:
    said = export.export(network(4), tmp_path / "a.pt2", (96, 128))
    assert "4 x 96 x 128" in said
    assert json.loads(export.description(network(4)))["input"] == "4 channels in 0..1, less mean, over std"
