"""What is published opens with transformers, from a Hub, in a process that does not have our code."""

import copy
import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import forked
import numpy as np
import pytest
import safetensors.torch
import torch
from hub_server import TOKEN, Hub, Repository
from networks import CLASSES, PAPERS, drawn, tiny
from PIL import Image
from torch import Tensor

import hub
from core.images.classes import Classes
from core.images.pixels import Normalisation
from core.networks.network import About, Network
from core.recipe import Protocol
from hub.doors import check, folder
from hub.usage import lines_of_transformers

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow]  # as many threads as the other processes have

CLIENT = Path(__file__).with_name("doors_client.py")
NAMES = Classes.coloured(["road", "sky", "a|b", "`quoted`", "tree, or bush"])

PROTOCOLS = {
    "danet": Protocol(crop=32, stride=24, flip=True, merge="exp", scales=(0.75, 1.25)),
    "dfdam": Protocol(),
    "pdanet": Protocol(base=64, edge="short", multiple=8, flip=True),
    "ranet": Protocol(crop=40, stride=32, merge="scores"),
    "sanet": Protocol(scales=(0.5, 1.0), flip=True),
}


@dataclass
class Opened:
    """The networks that were published, and what somebody else found in them."""

    place: Path
    networks: dict[str, Network]
    found: dict[str, Any]
    tensors: dict[str, Tensor]
    folders: dict[str, Path]


def network(paper: str, channels: int = 3) -> Network:
    """A small network of a paper, as if it had been trained."""
    default = PAPERS[paper].network
    with torch.device("meta"):
        architecture = tiny(default(CLASSES).architecture)
    built = drawn(default(CLASSES, architecture, in_channels=channels)).float().eval()
    means, deviations = (0.4, 0.5, 0.6, 0.5), (0.01, 0.02, 0.01, 0.02)  # so that noise has several classes
    built.normalisation = Normalisation(means[:channels], deviations[:channels])
    built.about = About(NAMES, PROTOCOLS[paper])
    return built


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("picture") / "picture.png"
    noise = np.random.default_rng(1).integers(0, 64, (40, 56, 3), dtype=np.uint8)
    noise[:, 28:] += 180  # the right half is bright, and the lower half red
    noise[20:, :, 1:] //= 2
    Image.fromarray(noise).save(path)
    return path


def write_lines_of_cards(place: Path, networks: dict[str, Network], picture: Path) -> None:
    """Write the Python of cards as `card-NAME.py`, and the images that it names."""
    for name in ("danet", "grey", "bands"):
        (place / f"card-{name}.py").write_text(lines_of_transformers(f"org/{name}", networks[name].in_channels))
    Image.open(picture).save(place / "photo.jpg")
    np.save(place / "image.npy", np.asarray(Image.open(picture))[..., [0, 1, 2, 0]])


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory, picture: Path) -> Opened:
    """Publish a network of each paper, and open them all in one other process."""
    place = tmp_path_factory.mktemp("doors")
    output = place / "answers.safetensors"
    networks = {paper: network(paper) for paper in PAPERS}
    networks |= {"grey": network("danet", 1), "bands": network("danet", 4)}
    folders = {name: place / name for name in networks}
    write_lines_of_cards(place, networks, picture)
    with Hub() as server:
        for name, built in networks.items():
            built.save_pretrained(folders[name])
            folder.write(folders[name], PAPERS[type(built).__name__.lower()], built)
            repository = server.repositories[f"org/{name}"] = Repository(private=False)
            repository.commit({file.name: file.read_bytes() for file in folders[name].iterdir()}, "by hand")
        words = [sys.executable, str(CLIENT), str(picture), str(output), *(f"org/{paper}" for paper in PAPERS)]
        chosen = {
            "HF_ENDPOINT": server.url,
            "HF_HOME": str(place / "home"),
            "HF_TOKEN": TOKEN,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        done = forked.served(words, env=chosen)
        assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads(done.stderr.splitlines()[-1])
    return Opened(place, networks, found, safetensors.torch.load_file(output), folders)


@pytest.mark.parametrize("paper", PAPERS)
def test_labels_are_those_of_predict(opened: Opened, picture: Path, paper: str) -> None:
    ours = hub.from_pretrained(opened.folders[paper]).predict(picture)
    best, second = ours.probabilities.topk(2, dim=0).values
    assert (best - second).min() > 1e-6  # the picture has no pixel on which rounding could decide
    assert len(ours.labels.unique()) > 1
    for way in ("labels", "pipeline"):
        assert torch.equal(opened.tensors[f"org/{paper}.{way}"], ours.labels.to(torch.int64)), way
    torch.testing.assert_close(
        opened.tensors[f"org/{paper}.logits"].softmax(dim=0), ours.probabilities, rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize(("name", "file"), [("danet", "photo.jpg"), ("grey", "photo.jpg"), ("bands", "image.npy")])
def test_the_lines_of_a_card_give_the_labels_of_predict(opened: Opened, name: str, file: str) -> None:
    ours = hub.from_pretrained(opened.folders[name]).predict(opened.place / file)
    assert len(ours.labels.unique()) > 1
    assert torch.equal(opened.tensors[f"card-{name}"], ours.labels.to(torch.int64))


@pytest.mark.parametrize("paper", PAPERS)
@pytest.mark.parametrize("kind", ["trained on", "three classes"])
def test_what_transformers_saved_opens_with_ours(opened: Opened, picture: Path, paper: str, kind: str) -> None:
    ours = hub.from_pretrained(opened.place / kind / paper)
    pixels = ours.normalisation(torch.from_numpy(np.array(Image.open(picture))).permute(2, 0, 1))[None]
    with torch.inference_mode():
        scores = ours(pixels).scores[0]
    theirs = opened.tensors[f"org/{paper}.{kind}"]
    torch.testing.assert_close(scores, theirs, rtol=1e-5, atol=1e-5 * float(theirs.abs().max()))
    names = NAMES.names if kind == "trained on" else ("LABEL_0", "LABEL_1", "LABEL_2")
    assert ours.about is not None
    assert (ours.classes.names, ours.about.protocol) == (names, PROTOCOLS[paper])


@pytest.mark.parametrize("paper", PAPERS)
def test_its_file_uses_no_operator_of_ours(opened: Opened, paper: str) -> None:
    """They would be found in that process, which is forked from one that has imported our code."""
    text = next(opened.folders[paper].glob("modeling_*.py")).read_text()
    assert not re.search(r"ops\.(core|ranet)\b|\"(core|ranet)::", text)


@pytest.mark.parametrize("paper", PAPERS)
def test_the_trainer_fine_tunes_it(opened: Opened, paper: str) -> None:
    found = opened.found[f"org/{paper}"]
    assert found["class"] == f"{PAPERS[paper].network.__name__}ForSemanticSegmentation"
    assert found["names"] == list(NAMES.names)
    first, *_, last, evaluated = found["losses"]
    assert last < first
    assert 0 < evaluated < 10
    assert found["three classes"] == [1, 3, 40, 56]
    assert found["saved"]


@pytest.mark.parametrize("paper", PAPERS)
def test_the_loss_of_the_training_is_that_of_the_paper(opened: Opened, picture: Path, paper: str) -> None:
    ours = opened.networks[paper]
    pixels = torch.from_numpy(np.array(Image.open(picture))).permute(2, 0, 1)
    labels = (torch.arange(pixels.shape[-1]) % CLASSES).repeat(pixels.shape[-2], 1)
    labels[:3] = 255
    torch.manual_seed(0)  # for dropout
    output = copy.deepcopy(ours).train()(torch.stack([ours.normalisation(pixels)] * 2))
    terms = PAPERS[paper].objective(ours.architecture)(output, torch.stack([labels] * 2))
    assert opened.found[f"org/{paper}"]["loss"] == pytest.approx(sum(term.item() for term in terms.values()), rel=1e-4)


def test_a_folder_that_answers_otherwise_is_not_published(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other process answers as our networks do, until a weight of the second moves."""
    networks = {opened.folders[name]: copy.deepcopy(opened.networks[name]) for name in ("bands", "sanet")}
    answers = {}
    for number, ours in enumerate(networks.values()):
        picture = check._noise(ours.in_channels)
        pixels = answers[f"pixels.{number}"] = ours.normalisation(picture)[None]
        with torch.inference_mode():
            answers[f"scores.{number}"] = ours(pixels).scores
        answers[f"labels.{number}"] = ours.predict(picture, Protocol()).labels

    def answer(words: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        safetensors.torch.save_file(answers, Path(words[3], "answers.safetensors"))
        return subprocess.CompletedProcess(words, 0, "", "")

    monkeypatch.setattr(check.subprocess, "run", answer)
    check.compare(networks)
    ours.get_submodule("dense.1").bias.data[0] += 1e-6
    with pytest.raises(ValueError, match=r"sanet: .* its scores are not ours: \d+ of 31525 differ"):
        check.compare(networks)


def test_a_folder_that_needs_our_code_is_not_published(opened: Opened, tmp_path: Path) -> None:
    copied = shutil.copytree(opened.folders["dfdam"], tmp_path / "dfdam")
    file = copied / "modeling_dfdam.py"
    file.write_text(file.read_text().replace("\nimport math\n", "\nimport math\nimport core.errors\n"))
    with pytest.raises(ValueError, match=r"dfdam: transformers can't open what would be published \(.*core"):
        check.compare({opened.folders["danet"]: opened.networks["danet"], copied: opened.networks["dfdam"]})
