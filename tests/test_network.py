"""Loading, saving and the prediction for one picture, as a user meets them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from core.backbones import Backbone
from core.classes import Classes
from core.network import About
from core.recipe import Protocol
from papers.danet.model import Architecture, DANet

NAMES = ("sky", "road", "car")


def network() -> DANet:
    torch.manual_seed(0)
    made = DANet(3, Architecture(Backbone("resnet10_tiny")))
    made.about = About(Classes.coloured(NAMES), Protocol(crop=32, stride=16, flip=True), {"name": "mine"}, {}, "abc")
    return made.eval()


def photo(height: int = 40, width: int = 57) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_predict_takes_an_image_a_path_or_a_tensor(tmp_path: Path) -> None:
    made, image = network(), photo()
    image.save(tmp_path / "photo.png")
    tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
    answers = [made.predict(given) for given in (image, tmp_path / "photo.png", str(tmp_path / "photo.png"), tensor)]
    for answer in answers:
        assert answer.labels.shape == (40, 57)
        assert answer.scores.shape == (3, 40, 57)
        assert torch.equal(answer.scores, answers[0].scores)
        assert answer.classes.names == NAMES
        assert answer.overlay().size == (57, 40)
    assert torch.allclose(answers[0].scores.sum(0), torch.ones(40, 57))
    assert torch.equal(answers[0].labels.long(), answers[0].scores.argmax(0))


def test_predict_follows_the_protocol_of_the_checkpoint() -> None:
    made = network()
    own, whole = made.predict(photo()), made.predict(photo(), Protocol())
    assert torch.equal(own.scores, made.predict(photo(), Protocol(crop=32, stride=16, flip=True)).scores)
    assert not torch.equal(own.scores, whole.scores)


def test_predict_leaves_the_mode_alone() -> None:
    made = network().train()
    made.predict(photo())
    assert made.training
    assert made.classify.training


def test_a_grey_picture_is_predicted_too() -> None:
    assert network().predict(photo().convert("L")).labels.shape == (40, 57)


def test_a_network_that_was_only_built_predicts() -> None:
    made = DANet(3, Architecture(Backbone("resnet10_tiny")))
    assert made.about is None
    assert made.predict(photo()).classes.names == ("class 0", "class 1", "class 2")


def test_what_a_checkpoint_says_of_itself_survives(tmp_path: Path) -> None:
    made = network()
    made.save_pretrained(tmp_path / "once")
    again = DANet.from_pretrained(tmp_path / "once")
    again.save_pretrained(tmp_path / "twice")
    assert DANet.from_pretrained(tmp_path / "twice").about == made.about
    assert again.architecture == made.architecture
    assert torch.equal(again.predict(photo()).scores, made.predict(photo()).scores)
    card = (tmp_path / "once" / "README.md").read_text()
    assert "DANet.from_pretrained" in card
    assert "More Information Needed" not in card


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
    with pytest.raises(ValueError, match="at least 1, got 0"):
        DANet(0, Architecture(Backbone("resnet10_tiny")))
