"""Loading, saving and the prediction for one picture, as a user meets them."""

import json
import pickle
import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from hostile import Hostile
from PIL import Image

import core.networks.network as network_module
import papers
from core.images.classes import Classes
from core.images.pixels import Normalisation
from core.networks import backbones
from core.networks.backbones import Backbone
from core.networks.features import Features
from core.networks.network import About
from core.networks.prediction import Picture, Prediction
from core.networks.weights import load_matching
from core.networks.workload import refuse_excess, work
from core.recipe import Protocol
from papers.danet.model import Architecture, DANet
from papers.pdanet.model import PDANet

NAMES = ("sky", "road", "car")


def network() -> DANet:
    torch.manual_seed(0)
    made = DANet(3, Architecture(Backbone("resnet10_tiny")))
    made.about = About(Classes.coloured(NAMES), Protocol(crop=32, stride=16, flip=True), {"name": "mine"}, {}, "abc")
    return made.eval()


def photo(height: int = 40, width: int = 57) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.slow
def test_predict_takes_an_image_a_path_an_array_or_a_tensor(tmp_path: Path) -> None:
    made, image = network(), photo()
    image.save(tmp_path / "photo.png")
    array = np.array(image)
    tensor = torch.from_numpy(array).permute(2, 0, 1).contiguous()
    turned = array[..., ::-1].copy()[..., ::-1]  # as from OpenCV, with negative strides
    kinds: list[Picture] = [image, tmp_path / "photo.png", str(tmp_path / "photo.png"), tensor, array, turned]
    answers = [made.predict(given) for given in kinds]
    for answer in answers:
        assert answer.labels.shape == (40, 57)
        assert answer.probabilities.shape == (3, 40, 57)
        assert torch.equal(answer.probabilities, answers[0].probabilities)
        assert answer.classes.names == NAMES
        assert answer.overlay().size == (57, 40)
    assert torch.allclose(answers[0].probabilities.sum(0), torch.ones(40, 57))
    assert torch.equal(answers[0].labels.long(), answers[0].probabilities.argmax(0))


def test_a_grey_array_is_the_picture_that_a_file_of_it_is(tmp_path: Path) -> None:
    made, grey = network(), np.asarray(photo().convert("L"))
    for array in (grey, grey.astype(np.uint16) * 257):
        Image.fromarray(array).save(tmp_path / "grey.png")
        assert torch.equal(made.predict(array).probabilities, made.predict(tmp_path / "grey.png").probabilities)


@pytest.mark.parametrize("protocol", [Protocol(), Protocol(crop=32, stride=16, flip=True, scales=(0.5, 1.0))])
def test_pictures_of_a_list_go_through_the_network_together(
    protocol: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = network()
    photo(30, 20).save(tmp_path / "photo.png")
    pictures = [photo(), np.asarray(photo()), tmp_path / "photo.png", photo(30, 20), photo(20, 30)]
    alone = [made.predict(picture, protocol) for picture in pictures]
    seen: list[int] = []
    forward = made.forward
    monkeypatch.setattr(made, "forward", lambda image: seen.append(image.shape[0]) or forward(image))
    together = made.predict(pictures, protocol)
    for one, other in zip(alone, together, strict=True):
        assert one.image.size == other.image.size
        torch.testing.assert_close(one.probabilities, other.probabilities)
    assert seen == [2, 2, 1] if protocol.crop is None else [4] * (len(seen) - 1)
    assert made.predict([]) == []


def test_a_network_predicts_in_half_precision_if_asked() -> None:
    made, kinds = network(), []
    exact = made.predict(photo())
    made.classify.register_forward_hook(lambda _, __, scores: kinds.append(scores.dtype))
    half = made.predict(photo(), precision="bf16")
    assert set(kinds) == {torch.bfloat16}
    assert half.probabilities.dtype == torch.float32
    torch.testing.assert_close(half.probabilities, exact.probabilities, rtol=0, atol=0.02)
    with pytest.raises(ValueError, match="fp16 needs a GPU; on a CPU choose bf16 or fp32"):
        made.predict(photo(), precision="fp16")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"precision": "fp64"}, "there is no precision 'fp64'"),
        ({"protocol": "own"}, "protocol must be a core.recipe.Protocol or None, got 'own'"),
        ({"image": None}, "predict takes a path, a PIL image, .*, got None"),
        ({"image": [3]}, "predict takes a path, a PIL image, .*, got 3"),
        ({"image": ""}, "predict takes a path, a PIL image, .*, got ''"),
        ({"image": "x" * 300}, "can't be read as an image: there is no image file xxx"),
        ({"image": Image.new("RGB", (0, 5))}, "got one of 0 x 5"),
    ],
)
def test_what_predict_does_not_take_is_said(given: dict[str, Any], sentence: str, no_type_checks: None) -> None:
    with pytest.raises(ValueError, match=sentence):
        network().predict(**{"image": photo(), **given})


def test_a_prediction_says_what_it_is_in_a_line_and_in_a_picture() -> None:
    labels = torch.zeros(4, 5, dtype=torch.uint8)
    labels[2:] = 2
    labels[3, 4] = 1
    answer = Prediction(labels, torch.rand(3, 4, 5), photo(4, 5), Classes.coloured(NAMES))
    assert repr(answer) == "Prediction(5 x 4 pixels: sky 50 %, car 45 %, road 5 %)"
    assert answer.shares() == {"sky": 0.5, "car": pytest.approx(0.45), "road": pytest.approx(0.05)}
    assert np.array_equal(np.asarray(Image.open(BytesIO(answer._repr_png_()))), np.asarray(answer.overlay()))


def test_predict_follows_the_protocol_of_the_checkpoint() -> None:
    made = network()
    own, whole = made.predict(photo()), made.predict(photo(), Protocol())
    assert torch.equal(own.probabilities, made.predict(photo(), Protocol(crop=32, stride=16, flip=True)).probabilities)
    assert not torch.equal(own.probabilities, whole.probabilities)


def test_predict_leaves_the_mode_alone() -> None:
    made = network().train()
    made.predict(photo())
    assert made.training
    assert made.classify.training


def test_a_failure_leaves_the_mode_alone_too(monkeypatch: pytest.MonkeyPatch) -> None:
    made = network().train()
    monkeypatch.setattr(made, "forward", lambda image: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        made.predict(photo())
    assert made.training


@pytest.mark.parametrize("merge", ["softmax", "exp"])
def test_probabilities_sum_to_one_however_scores_were_merged(merge: Any) -> None:
    answer = network().predict(photo(), Protocol(flip=True, merge=merge))
    assert answer.probabilities.dtype == torch.float32
    torch.testing.assert_close(answer.probabilities.sum(0), torch.ones(40, 57))
    assert torch.equal(answer.probabilities.argmax(0), answer.labels.long())


def test_a_picture_that_needs_more_memory_than_there_is_is_said_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_module, "free_memory", lambda device: 10**6)
    with pytest.warns(
        UserWarning, match=r"57 x 40 pixels takes about .* GB, but 0.0 GB are free on cpu: .*protocol wit"
    ):
        network().predict(photo(), Protocol())
    monkeypatch.setattr(network_module, "free_memory", lambda device: 10**8)
    network().predict(photo())  # warnings are errors


def test_a_photograph_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    image = photo()
    exif = image.getexif()
    exif[0x0112] = 6  # to be turned by a quarter
    image.save(tmp_path / "photo.png", exif=exif)
    turned = network().predict(image.transpose(Image.Transpose.ROTATE_270))
    answer = network().predict(tmp_path / "photo.png")
    assert answer.image.size == (40, 57)
    assert torch.equal(answer.probabilities, turned.probabilities)


def test_what_is_no_picture_is_refused(tmp_path: Path, no_type_checks: None) -> None:
    for tensor in (torch.rand(3, 8, 8), torch.zeros(8, 8, 3, dtype=torch.uint8), torch.zeros(3, 0, 8).byte()):
        with pytest.raises(ValueError, match=r"takes an 8-bit RGB tensor of size 3 h w .* got torch"):
            network().predict(tensor)
    (tmp_path / "photo.png").write_text("no picture")
    for array in (np.zeros((8, 8, 3)), np.zeros((8, 8, 4), np.uint8), np.zeros((0, 8), np.uint8)):
        with pytest.raises(ValueError, match=r"takes an array of size h w 3 \(RGB\) .* got (float64|uint8) of size"):
            network().predict(array)
    with pytest.raises(ValueError, match=r"photo\.png"):
        network().predict(tmp_path / "photo.png")
    with pytest.raises(ValueError, match=r"absent\.png"):
        network().predict(tmp_path / "absent.png")


def test_a_grey_picture_is_predicted_too() -> None:
    assert network().predict(photo().convert("L")).labels.shape == (40, 57)


def test_a_network_that_was_only_built_predicts() -> None:
    made = DANet(3, Architecture(Backbone("resnet10_tiny")))
    assert made.about is None
    assert made.predict(photo()).classes.names == ("class 0", "class 1", "class 2")


@pytest.mark.slow
def test_what_a_checkpoint_says_of_itself_survives(tmp_path: Path) -> None:
    made = network()
    made.save_pretrained(tmp_path / "once")
    again = DANet.from_pretrained(tmp_path / "once")
    again.save_pretrained(tmp_path / "twice")
    assert DANet.from_pretrained(tmp_path / "twice").about == made.about
    assert again.architecture == made.architecture
    assert torch.equal(again.predict(photo()).probabilities, made.predict(photo()).probabilities)
    card = (tmp_path / "once" / "README.md").read_text()
    assert "DANet.from_pretrained" in card
    assert "More Information Needed" not in card


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    network().save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the configuration in a folder."""
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


def reshape(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the weights in a folder."""
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    change(tensors)
    safetensors.torch.save_file(tensors, folder / "model.safetensors")


def test_a_configuration_says_what_the_network_is(saved: Path) -> None:
    config = json.loads((saved / "config.json").read_text())
    assert config["architectures"] == ["DANet"]
    assert config["num_classes"] == 3
    assert config["architecture"]["backbone"]["name"] == "resnet10_tiny"
    assert config["normalisation"] == {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    assert config["about"]["classes"]["names"] == list(NAMES)
    assert len(config["about"]["classes"]["palette"]) == 3
    assert config["about"]["recipe"] == {"name": "mine"}
    assert (config["about"]["changed"], config["about"]["commit"]) == ({}, "abc")


@pytest.mark.slow
def test_another_normalisation_comes_back(tmp_path: Path) -> None:
    made = network()
    made.normalisation = Normalisation((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    made.save_pretrained(tmp_path)
    again = DANet.from_pretrained(tmp_path, verify=True)
    assert again.normalisation == made.normalisation
    assert torch.equal(again.predict(photo()).probabilities, made.predict(photo()).probabilities)


@pytest.mark.slow
def test_a_fingerprint_tells_other_weights(saved: Path) -> None:
    assert isinstance(DANet.from_pretrained(saved, verify=True), DANet)
    stored = json.loads((saved / "fingerprint.json").read_text())
    assert np.array(stored["scores"]).shape == (4, 3)
    reshape(saved, lambda tensors: tensors["backbone.body.conv1.0.weight"].mul_(1.1))
    DANet.from_pretrained(saved)
    with pytest.raises(ValueError, match=r"saved does not compute what its fingerprint says: scores differ by"):
        DANet.from_pretrained(saved, verify=True)


def test_a_fingerprint_tells_another_normalisation(saved: Path) -> None:
    edit(saved, lambda config: config["normalisation"].update(mean=[0.0, 0.0, 0.0]))
    with pytest.raises(ValueError, match="does not compute what its fingerprint says"):
        DANet.from_pretrained(saved, verify=True)


def test_a_fingerprint_is_needed_to_verify(saved: Path) -> None:
    (saved / "fingerprint.json").unlink()
    DANet.from_pretrained(saved)
    with pytest.raises(ValueError, match=r"saved has no fingerprint\.json"):
        DANet.from_pretrained(saved, verify=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "content", ["", '{"inp', "[]", '{"scores": [["high"]]}', '{"scores": [[1.0, 2.0]]}', "[" * 10**5]
)
def test_a_damaged_fingerprint_is_said(saved: Path, content: str) -> None:
    (saved / "fingerprint.json").write_text(content)
    with pytest.raises(ValueError, match=r"fingerprint\.json is no fingerprint, it is damaged or cut off"):
        DANet.from_pretrained(saved, verify=True)


@pytest.mark.slow
@pytest.mark.parametrize("number", [float("inf"), float("nan"), 10**400])
def test_a_fingerprint_that_is_not_finite_verifies_nothing(saved: Path, number: float) -> None:
    stored = json.loads((saved / "fingerprint.json").read_text())
    stored["scores"][0][0] = number
    (saved / "fingerprint.json").write_text(json.dumps(stored))
    with pytest.raises(ValueError, match="is no fingerprint, .*(its scores are not finite|too large)"):
        DANet.from_pretrained(saved, verify=True)


def test_a_fingerprint_of_another_input_is_not_compared(saved: Path) -> None:
    stored = json.loads((saved / "fingerprint.json").read_text())
    stored["input"]["seed"] = 1
    (saved / "fingerprint.json").write_text(json.dumps(stored))
    with pytest.raises(ValueError, match="does not compute what its fingerprint says"):
        DANet.from_pretrained(saved, verify=True)


def test_a_fingerprint_does_not_depend_on_the_mode(tmp_path: Path) -> None:
    network().train().save_pretrained(tmp_path / "train")
    network().eval().save_pretrained(tmp_path / "eval")
    one, other = ((tmp_path / mode / "fingerprint.json").read_bytes() for mode in ("train", "eval"))
    assert one == other


def test_loading_is_strict_and_lists_what_does_not_fit(saved: Path) -> None:
    """The mixin's own default leaves random weights in silence."""

    def change(tensors: dict[str, Any]) -> None:
        tensors["renamed"] = tensors.pop("position.attend.alpha")
        tensors["channel.attend.beta"] = torch.zeros(1)

    reshape(saved, change)
    with pytest.raises(ValueError, match=r"does not fit the DANet of its config\.json") as caught:
        DANet.from_pretrained(saved)
    for part in (
        "missing: position.attend.alpha;",
        "unexpected: renamed;",
        "of another shape: channel.attend.beta (1,) instead of ()",
    ):
        assert part in str(caught.value)


CLASSIFIERS = [
    f"{name}.{last}"
    for name in ("classify", "classify_position", "classify_channel")
    for last in ("1.weight", "1.bias")
]


@pytest.mark.slow
def test_another_number_of_classes_leaves_the_classifiers_out_by_name(saved: Path) -> None:
    with pytest.warns(
        UserWarning, match="is for 3 classes, not 5: its classifiers are left out and stay random"
    ) as said:
        loaded = DANet.from_pretrained(saved, num_classes=5)
    state, stored = loaded.state_dict(), safetensors.torch.load_file(saved / "model.safetensors")
    for name, value in state.items():
        assert (name in str(said[0].message)) == (name in CLASSIFIERS)
        assert (value.shape == stored[name].shape) == (name not in CLASSIFIERS)
        assert name in CLASSIFIERS or torch.equal(value, stored[name])
    assert (loaded.num_classes, loaded.about) == (5, None)
    assert DANet.from_pretrained(saved, num_classes=3).about == network().about


def test_weights_of_a_configuration_with_other_classes_are_refused(saved: Path) -> None:
    """Leaving classifiers out is for those who ask for it."""
    edit(saved, lambda config: config.update(num_classes=5, about=None))
    with pytest.raises(ValueError, match=r"of another shape: classify\.1\.weight \(3, "):
        DANet.from_pretrained(saved)


def test_classes_that_are_not_those_of_the_scores_are_refused(saved: Path) -> None:
    edit(saved, lambda config: config["about"]["classes"].update(names=["a", "b"], palette=[[0, 0, 0], [1, 1, 1]]))
    with pytest.raises(ValueError, match="names 2 classes for 3 scores"):
        DANet.from_pretrained(saved)


@pytest.mark.slow
def test_matching_weights_load_without_foreign_classifiers() -> None:
    torch.manual_seed(1)
    made, five = network(), DANet(5, Architecture(Backbone("resnet10_tiny")))
    before = {name: value.clone() for name, value in five.state_dict().items()}
    assert sorted(load_matching(five, made.state_dict())) == sorted(CLASSIFIERS)
    for name, value in five.state_dict().items():
        assert torch.equal(value, before[name] if name in CLASSIFIERS else made.state_dict()[name])

    three = DANet(3, Architecture(Backbone("resnet10_tiny")))
    assert load_matching(three, made.state_dict()) == ()
    assert all(torch.equal(value, made.state_dict()[name]) for name, value in three.state_dict().items())


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        ("classify.1.bias", (3,), "of another shape: classify.1.weight (5, 24, 1, 1) instead of (3, 24, 1, 1)"),
        ("classify.1.bias", None, "missing: classify.1.bias;"),
        ("position.attend.alpha", (1,), "of another shape: position.attend.alpha (1,) instead of ()"),
    ],
)
def test_all_else_must_match(name: str, shape: tuple[int, ...] | None, words: str) -> None:
    """Also a checkpoint in which only some classifiers are of another number of classes is a broken one."""
    state = {**DANet(5, Architecture(Backbone("resnet10_tiny"))).state_dict()}
    state.pop(name)
    if shape is not None:
        state[name] = torch.zeros(shape)
    made = network()
    before = {key: value.clone() for key, value in made.state_dict().items()}
    with pytest.raises(ValueError, match=re.escape(words)):
        load_matching(made, state)
    assert all(torch.equal(value, before[key]) for key, value in made.state_dict().items())


def test_a_folder_of_another_network_is_refused(saved: Path) -> None:
    with pytest.raises(ValueError, match=r"of the class DANet, not PDANet; take the commands of its own paper"):
        PDANet.from_pretrained(saved)


class Derived(DANet):
    """A network with the weights of another."""


def test_what_is_derived_from_a_network_has_its_weights(saved: Path) -> None:
    assert isinstance(Derived.from_pretrained(saved), Derived)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_a_folder_without_a_file_is_refused(saved: Path, file: str) -> None:
    (saved / file).unlink()
    with pytest.raises(ValueError, match=rf"saved has no {file}; give a folder that save_pretrained or a training run"):
        DANet.from_pretrained(saved)


@pytest.mark.parametrize("kept", [0, 5, 100, -100, -1])
@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_a_file_that_was_cut_off_is_refused(saved: Path, file: str, kept: int) -> None:
    path = saved / file
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=rf"{file} is (damaged or cut off|no configuration of a network)"):
        DANet.from_pretrained(saved)


def test_a_folder_has_no_revisions(saved: Path) -> None:
    with pytest.raises(ValueError, match="is a folder and has no revisions, got revision 'main'"):
        DANet.from_pretrained(saved, revision="main")


def nested(depth: int) -> list[Any]:
    return [nested(depth - 1)] if depth else []


ABSURD: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda config: config.update(num_classes=10**9), "num_classes must be at most 8192, got 1000000000"),
    (lambda config: config.update(num_classes=300), "needs num_classes of at least 1 and at most 255, got 300"),
    (lambda config: config.update(num_classes=-1), "needs num_classes of at least 1 and at most 255, got -1"),
    (lambda config: config.update(num_classes="many"), "num_classes must be a whole number"),
    (lambda config: config["architecture"].update(reduction=10**12), "architecture.reduction must be at most 8192"),
    (
        lambda config: config["architecture"]["backbone"].update(multi_grid=[10**7]),
        "architecture.backbone.multi_grid must be at most 8192, got 10000000",
    ),
    (
        lambda config: config["architecture"]["backbone"].update(multi_grid=[1] * 10**4),
        "architecture.backbone.multi_grid must have at most 255 entries, got 10000",
    ),
    (lambda config: config["about"]["protocol"].update(crop=10**6), "protocol.crop must be at most 8192, got 1000000"),
    (lambda config: config["about"]["protocol"].update(scales=[100.0]), "protocol.scales must be at most 8.0"),
    (lambda config: config["about"]["protocol"].update(scales=[float("nan")]), "protocol.scales must be at most 8192"),
    (lambda config: config.update(architectures=["DANet", "DANet"]), "must name one network in 'architectures'"),
    (lambda config: config.pop("architectures"), "it has no 'architectures'"),
    (lambda config: config.update(architectures=["Module"]), "holds a network of the class Module, not DANet"),
    (lambda config: config.update(architectures=["Network"]), "holds a network of the class Network, not DANet"),
    (lambda config: config.update(architecture=[]), "architecture a table"),
    (lambda config: config.update(about=3), "about must be a table"),
    (lambda config: config["about"].update(recipe={"data": None}), "about.recipe.data must be a table"),
    (lambda config: config.update(num_classes=10**400), "num_classes must be at most 8192, got 1000"),
    (lambda config: config.update(num_classes=True), "num_classes must be a whole number"),
    (lambda config: config["about"]["recipe"].update(deep=nested(40)), "stand more than 32 deep in one another"),
    (lambda config: config.update(note="x" * (1 << 20)), "it has more than 1048576 bytes"),
]


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kinds of memory in which backbones were built."""
    devices: list[str] = []
    build = backbones.build

    def watched(backbone: Backbone) -> Features:
        devices.append(torch.empty(0).device.type)
        return build(backbone)

    monkeypatch.setattr(backbones, "build", watched)
    return devices


@pytest.mark.parametrize(("change", "words"), ABSURD)
def test_absurd_configurations_are_refused_before_memory_is_allocated(
    saved: Path, change: Callable[[dict[str, Any]], Any], words: str, built: list[str]
) -> None:
    edit(saved, change)
    with pytest.raises(ValueError, match=re.escape(words)):
        DANet.from_pretrained(saved)
    assert built == []


STRICT: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda config: config["architecture"].update(reduction="8"), "reduction must be a whole number, got '8'"),
    (lambda config: config["architecture"].update(reduction=8.7), "reduction must be a whole number, got 8.7"),
    (lambda config: config["architecture"].update(side_scores="false"), "side_scores must be true or false, got 'fal"),
    (lambda config: config["architecture"].update(side_scores=1), "side_scores must be true or false, got 1"),
    (
        lambda config: config["architecture"]["backbone"].update(output_stride=8.0),
        "backbone.output_stride must be a whole number, got 8.0",
    ),
    (lambda config: config["about"]["protocol"].update(crop=True), "Protocol: crop must be a whole number, got True"),
    (lambda config: config["about"]["protocol"].update(scales="1"), "Protocol: scales must be a list, got '1'"),
    (
        lambda config: config["about"]["protocol"].update(scales=["1"]),
        "scales must be a finite number, got '1'",
    ),
    (lambda config: config["about"]["classes"]["palette"].__setitem__(0, [0, 0, 256]), "of a colour are 0 to 255, got"),
    (
        lambda config: config["about"]["classes"]["palette"].__setitem__(0, [0, 1.5, 2]),
        "must be a whole number, got 1.5",
    ),
    (lambda config: config["about"]["classes"]["palette"].__setitem__(0, [0, 2]), "must have 3 entries, got 2"),
    (lambda config: config["about"]["classes"].update(names="abc"), "classes.names must be a list, got 'abc'"),
    (lambda config: config["normalisation"].update(std=[0.2, 0.0, 0.2]), "std must hold positive numbers, got"),
    (lambda config: config["normalisation"].update(mean=[float("nan"), 0, 0]), "mean must be a finite number, got nan"),
    (lambda config: config["normalisation"].update(mean=[10**400, 0, 0]), "mean must be a finite number, got 1000"),
    (lambda config: config["normalisation"].update(std=[0.2, 1e-50, 0.2]), "mean is at most 1e+06 and std 1e-06 to 1e"),
    (lambda config: config["normalisation"].update(mean=[0, -1e300, 0]), "mean is at most 1e+06 and std 1e-06 to 1e"),
    (
        lambda config: config["normalisation"].update(mean=[0.5] * 4, std=[0.5] * 4),
        "its normalisation is for 4 channels, and its backbone takes 3",
    ),
    (
        lambda config: config["about"].update(classes=None),
        "config.json is no configuration of a network: not a valid A",
    ),
    (lambda config: config["about"].update(classes=None), "classes must be a table"),
    (lambda config: config["architecture"].update(backbone="resnet18"), "backbone must be a table"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("change", "words"), STRICT)
def test_types_are_strict(saved: Path, change: Callable[[dict[str, Any]], Any], words: str) -> None:
    """Python would take "false" for true, and 8.7 or true for a whole number."""
    edit(saved, change)
    with pytest.raises(ValueError, match=re.escape(words)):
        DANet.from_pretrained(saved)


BN = "backbone.body.bn1"
UNSOUND: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda tensors: tensors["position.attend.alpha"].fill_(torch.inf), "not finite, in position.attend.alpha"),
    (lambda tensors: tensors[f"{BN}.weight"][3:4].fill_(torch.nan), f"not finite, in {BN}.weight"),
    (lambda tensors: tensors[f"{BN}.running_var"][3:4].fill_(-0.1), f"negative variances, in {BN}.running_var"),
    (
        lambda tensors: tensors.update({f"{BN}.bias": tensors[f"{BN}.bias"].to(torch.int32)}),
        f"other kinds than floating-point numbers: {BN}.bias (torch.int32)",
    ),
    (
        lambda tensors: tensors.update({f"{BN}.bias": tensors[f"{BN}.bias"].to(torch.complex64)}),
        f"other kinds than floating-point numbers: {BN}.bias (torch.complex64)",
    ),
]


@pytest.mark.parametrize(("change", "words"), UNSOUND)
def test_weights_that_compute_nothing_are_refused_by_name(
    saved: Path, change: Callable[[dict[str, Any]], Any], words: str
) -> None:
    reshape(saved, change)
    with pytest.raises(ValueError, match=re.escape(words)):
        DANet.from_pretrained(saved)


def test_weights_in_half_precision_are_widened(saved: Path) -> None:
    reshape(saved, lambda tensors: tensors.update({f"{BN}.bias": tensors[f"{BN}.bias"].half()}))
    assert (
        DANet.from_pretrained(saved, map_location=torch.device("cpu")).state_dict()[f"{BN}.bias"].dtype == torch.float32
    )


def test_a_device_that_is_not_there_is_said(saved: Path, no_type_checks: None) -> None:
    for device in ("gpu", "cuda:99", None, {"cuda": "cpu"}):
        with pytest.raises(ValueError, match=r"is no device of this machine \(.+\); pass cpu, cuda, cuda:1 or mps"):
            DANet.from_pretrained(saved, map_location=device)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'meta' is a device that holds no numbers"):
        DANet.from_pretrained(saved, map_location="meta")


@pytest.mark.parametrize("number", ["3", 3.0, True, None])
def test_a_number_of_classes_is_a_whole_number(number: Any, no_type_checks: None) -> None:
    with pytest.raises(ValueError, match=re.escape(f"needs num_classes of at least 1 and at most 255, got {number!r}")):
        DANet(number, Architecture(Backbone("resnet10_tiny")))
    assert DANet(np.int64(3), Architecture(Backbone("resnet10_tiny"))).num_classes == 3  # type: ignore[arg-type]


def test_scores_that_are_not_finite_are_no_answer(saved: Path) -> None:
    """Weights may be finite, and their products are not."""
    reshape(saved, lambda tensors: [value.mul_(1e30) for name, value in tensors.items() if name.endswith("weight")])
    made = DANet.from_pretrained(saved)
    with pytest.raises(ValueError, match="scores are not finite: its numbers are too large for fp32, or its weights"):
        made.predict(photo())


HOSTILE = (
    Protocol(crop=1024, stride=1),
    Protocol(base=8192, scales=(8.0,)),
    Protocol(crop=8192, stride=8192),
    Protocol(base=2048, scales=(1.0,) * 255, flip=True),
    Protocol(crop=1, stride=1, flip=True),
)


@pytest.mark.parametrize("protocol", HOSTILE)
def test_a_checkpoint_may_not_ask_for_any_amount_of_work(protocol: Protocol, monkeypatch: pytest.MonkeyPatch) -> None:
    made = network()
    asked: list[Protocol] = []
    made.about = About(Classes.coloured(NAMES), protocol)
    image = photo(1100, 1100) if protocol.stride == 1 else photo(64, 64)
    with pytest.raises(ValueError, match=r"own protocol asks for .* (pixels|windows) .*--protocol own-unbounded"):
        made.predict(image)

    def answer(_: Any, images: Any, protocol: Protocol) -> Any:
        asked.append(protocol)
        return (torch.ones(3, *image.shape[-2:]) for image in images)

    monkeypatch.setattr(network_module, "infer_each", answer)
    monkeypatch.setattr(network_module, "memory", lambda *given: 0)
    made.predict(image, protocol)  # one's own wish
    assert asked == [protocol]


def test_no_paper_asks_for_more_work_than_is_allowed() -> None:
    for paper in papers.every():
        for recipe in paper.recipes.values():
            for height, width in ((1, 1), (64, 64), (375, 500), (1024, 2048), (3000, 4000)):
                refuse_excess(height, width, recipe.protocol)


def test_work_is_counted() -> None:
    assert work(40, 50, Protocol()) == (2000, 2000, 1)
    assert work(40, 50, Protocol(flip=True, scales=(0.5, 2.0))) == (8000, 2 * (500 + 8000), 4)
    assert work(40, 50, Protocol(crop=32, stride=16)) == (2000, 2 * 3 * 32 * 32, 2 * 3)


@pytest.mark.slow
def test_sizes_that_are_not_those_of_the_weights_are_refused_before_memory_is_allocated(
    saved: Path, built: list[str]
) -> None:
    edit(saved, lambda config: config["architecture"]["backbone"].update(name="resnet101"))
    with pytest.raises(ValueError, match="does not fit the DANet of its config"):
        DANet.from_pretrained(saved)
    assert built == ["meta"]


@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.safetensors"])
@pytest.mark.parametrize("saves", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_no_pickle_is_loaded(saved: Path, tmp_path: Path, file: str, saves: Callable[[Any, Path], Any]) -> None:
    """The mixin's own way falls back to pytorch_model.bin."""
    (saved / "model.safetensors").unlink()
    saves({"weight": Hostile(tmp_path / "made")}, saved / file)
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        DANet.from_pretrained(saved)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace('"reduction"', '"reductions"'), "reductions"),
        (lambda text: text.replace('"name": "resnet10_tiny"', '"name": "resnet9000"'), "resnet9000"),
    ],
)
def test_a_config_of_another_architecture_is_refused(change, words: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    network().save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(change(config.read_text()))
    with pytest.raises(ValueError, match=words):
        DANet.from_pretrained(tmp_path)


def test_no_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 and at most 255, got 0"):
        DANet(0, Architecture(Backbone("resnet10_tiny")))
