"""What is refused before a run writes anything, and what it may go on from."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import tiny
import torch
from accelerate.utils import LoggerType
from tiny import NAME, begin, differing, left, recipe, tree

from core import files
from core.datasets import Pairs
from core.images.classes import Classes
from core.recipe import Data
from core.training import checkpoint, setup
from core.training.lock import Lock
from core.training.loop import train
from papers.danet.loss import loss as danet_loss
from papers.danet.model import DANet
from papers.danet.recipes import RECIPES

pytestmark = [pytest.mark.usefixtures("alone"), pytest.mark.slow]

KILLED = 5  # steps that a run finishes before it is killed; its state is then at step 4


def refused(to: Path, sentence: str, *arguments: Any, **run: Any) -> str:
    """A ValueError that matches the sentence, and a folder that is left as it was."""
    before = tree(to) if to.exists() else None
    with pytest.raises(ValueError, match=sentence) as caught:
        begin(to, *arguments, **run)
    assert (tree(to) if to.exists() else None) == before
    return str(caught.value)


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path: Path) -> None:
    to = tmp_path / "absent"
    refused(to, r"batch of 4 can't be shared equally by 1 processes x 3 accumulated parts; choose", accumulate=3)
    assert not to.exists()


def test_a_batch_larger_than_the_data_set_is_refused(tmp_path: Path) -> None:
    to = tmp_path / "absent"
    refused(to, r"a batch of 14 needs .*, got 13; pass --recipe.optimisation.batch 13 or less", recipe(batch=14))
    assert not to.exists()


def test_half_precision_without_a_gpu_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    to = tmp_path / "absent"
    refused(to, r"fp16 needs a GPU; on a CPU choose bf16 or fp32", precision="fp16")
    assert not to.exists()


def test_a_row_that_has_no_weights_of_its_own_is_refused(tmp_path: Path) -> None:
    what = RECIPES["danet-r101-cityscapes-ms"]
    to = tmp_path / "absent"
    said = refused(to, "tests the weights of 'danet-r101-cityscapes' in another way", what, danet_loss)
    assert f"evaluate.py danet-r101-cityscapes-ms --weights {to / 'danet-r101-cityscapes'}" in said
    assert not to.exists()


def test_a_second_stage_begins_with_the_weights_of_the_first(tmp_path: Path) -> None:
    train(begin(tmp_path, recipe(length=2)))
    second = dataclasses.replace(recipe(length=2), name="second", starts_from=NAME)
    training = begin(tmp_path, second)
    trained = safetensors.torch.load_file(tmp_path / NAME / "model.safetensors")
    assert differing(dict(training.network.state_dict()), trained) == []
    assert training.changed == {}
    train(training)
    assert begin(tmp_path, second).changed == {}  # resumed: its own weights, whatever became of the first stage


def test_weights_that_the_recipe_does_not_name_are_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tiny.Tiny(7)
    other.save_pretrained(tmp_path / "other")
    second = dataclasses.replace(recipe(length=2), starts_from="first")
    training = begin(tmp_path, second, starts_from=str(tmp_path / "other"))
    assert training.changed == {"starts_from": ("first", str(tmp_path / "other"))}
    assert torch.equal(training.network.backbone.body.convolve.weight, other.backbone.body.convolve.weight)
    assert "which has other classes: classify.weight, classify.bias" in capsys.readouterr().out
    train(training)
    assert begin(tmp_path, second, starts_from=str(tmp_path / "other")).changed == training.changed  # resumed
    about = tiny.Tiny.from_pretrained(tmp_path / NAME).about
    assert about is not None
    assert about.changed == {"starts_from": ["first", str(tmp_path / "other")]}


def test_classifiers_of_as_many_other_classes_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first stage has the same classes in another order: its first class is not the first one here."""
    train(begin(tmp_path, recipe(length=2)))
    first = tiny.Tiny.from_pretrained(tmp_path / NAME)
    assert first.about is not None
    classes = first.about.classes
    first.about = dataclasses.replace(first.about, classes=Classes(classes.names[::-1], classes.palette))
    first.save_pretrained(tmp_path / "first")
    for folder, kept in ((tmp_path / NAME, True), (tmp_path / "first", False)):
        training = begin(tmp_path / "second", recipe(length=2), starts_from=str(folder))
        state = training.network.state_dict()
        assert torch.equal(state["backbone.body.convolve.weight"], first.backbone.body.convolve.weight)
        assert torch.equal(state["classify.weight"], first.classify.weight) is kept
        said = "which has other classes (class 0 is 'car' there and 'road' here): classify.weight"
        assert (said in capsys.readouterr().out) is not kept
    fewer = tiny.Tiny(9)
    fewer.about = dataclasses.replace(first.about, classes=Classes(classes.names[:9], classes.palette[:9]))
    fewer.save_pretrained(tmp_path / "fewer")
    begin(tmp_path / "third", recipe(length=2), starts_from=str(tmp_path / "fewer"))
    assert "which has other classes (9 there and 10 here): classify.weight" in capsys.readouterr().out


def test_other_weights_of_the_backbone_are_recorded(tmp_path: Path) -> None:
    file = tmp_path / "mine.safetensors"
    safetensors.torch.save_file(tiny.Tiny(7).backbone.body.state_dict(), file)
    published = dataclasses.replace(recipe(length=2), backbone_weights="hub")
    told = {"backbone_weights": ("hub", f"mine.safetensors, sha256 {files.sha256(file)}")}
    training = begin(tmp_path, published, backbone_weights=str(file))
    assert training.changed == told
    train(training)
    assert begin(tmp_path, published, backbone_weights=str(file)).changed == told  # resumed
    assert begin(tmp_path / "none", published, backbone_weights="none").changed == {"backbone_weights": ("hub", "none")}
    assert begin(tmp_path / "as", recipe(), backbone_weights="none").changed == {}


def test_weights_of_another_network_name_the_recipe_that_fits_them(tmp_path: Path) -> None:
    demo = RECIPES["danet-demo"]
    said = refused(
        tmp_path,
        "danet-tiny-camvid was trained by 'danet-tiny-camvid', whose network is not that of 'danet-demo': take that",
        dataclasses.replace(demo, optimisation=dataclasses.replace(demo.optimisation, batch=4)),
        danet_loss,
        build=DANet,
        starts_from="danet-tiny-camvid",
    )
    assert "of another shape: backbone" in said


def test_another_number_of_classes_than_the_data_has_is_refused(tmp_path: Path) -> None:
    what = dataclasses.replace(recipe(), data=Data("scenes", num_classes=9, test="test"))
    refused(tmp_path, "'scenes' has 10 classes here, got --recipe.data.num-classes 9", what, published=recipe())


def test_a_second_stage_without_a_first_is_refused(tmp_path: Path) -> None:
    second = dataclasses.replace(recipe(), starts_from="first")
    refused(tmp_path, "begins with the weights of 'first', but there is no .*first; train 'first' first, or", second)
    both = {"starts_from": "somewhere", "backbone_weights": "none"}
    refused(
        tmp_path, r"trained weights \(somewhere\) or with those of its backbone \(none\); leave out", second, **both
    )


def test_a_split_without_labels_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unlabelled(split: str) -> Pairs:
        whole = usual(split)
        return whole if split != "test" else dataclasses.replace(whole, labelled=False)

    usual = tiny.pairs
    monkeypatch.setattr(tiny, "pairs", unlabelled)
    refused(tmp_path / "absent", "the labels of 'scenes', test, are not public.*--recipe.data.test.*--submit DIR")
    assert not (tmp_path / "absent").exists()


def test_another_number_of_classes_than_the_rows_is_refused(tmp_path: Path) -> None:
    what = dataclasses.replace(recipe(), data=Data("scenes", num_classes=9, test="test"))
    refused(tmp_path / "absent", "'scenes' has 10 classes here, but 'tiny' is for 9", what)
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize(
    ("split", "mapping", "sentence"),
    [
        ("train", {255: 255}, r"train/000000-labels.png holds the value 0, 1, .*; allowed are 255"),
        ("train", dict.fromkeys(range(256), 3), "train: the labels hold the class 3 besides 255"),
        ("val", dict.fromkeys(range(256), 255), "val: the labels hold no class at all besides 255"),
        ("test", dict.fromkeys(range(256), 255), "test: the labels hold no class at all besides 255"),
    ],
)
def test_labels_that_nothing_can_be_learnt_from_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: str, mapping: dict[int, int], sentence: str
) -> None:
    def changed(name: str) -> Pairs:
        return dataclasses.replace(usual(name), mapping=mapping) if name == split else usual(name)

    usual = tiny.pairs
    monkeypatch.setattr(tiny, "pairs", changed)
    refused(tmp_path / "absent", sentence)
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("here", ["another step", "another disk"])
def test_a_folder_that_is_not_shared_by_all_machines_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: str
) -> None:
    """As one machine of several meets it: the main process holds the lock elsewhere, or its state is further on."""
    if here == "another step":
        monkeypatch.setattr(setup, "broadcast_object_list", lambda _: [6])
    else:
        monkeypatch.setattr(Lock, "take", lambda _: None)
    refused(tmp_path / "absent", r"process 0 sees another .*tiny than the main process.*all machines share")


def test_a_tracker_that_is_not_installed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """accelerate leaves out what it cannot import and says nothing."""
    monkeypatch.setattr("accelerate.tracking._available_trackers", [LoggerType.TENSORBOARD])
    to = tmp_path / "absent"
    refused(to, r"the tracker wandb is not installed", trackers=("wandb",))
    assert not to.exists()


def test_another_run_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    """Going on with other settings would be neither run. The message lists what differs, old and new."""
    train(begin(tmp_path, recipe(length=2)))
    same = recipe(length=2)
    advice = "--restart to rename it and start over, or another --name or --to"
    for sentence, what, run in (
        (r"seed: 0 -> 1\)", same, {"seed": 1}),
        (r"accumulate: 1 -> 2\)", same, {"accumulate": 2}),
        (r"recipe.optimisation.batch: 4 -> 2\)", recipe(length=2, batch=2), {}),
        (
            r"recipe.architecture.noisy: True -> False; recipe.augmentation.scale: .*; "
            r"recipe.augmentation.brightness: 0.2 -> 0.0\)",
            recipe(noisy=False, length=2),
            {},
        ),
    ):
        assert advice.removeprefix("--restart to ") in refused(tmp_path, sentence, what, **run)
    begin(tmp_path, same)  # the same command is not refused


def test_a_data_set_of_another_length_is_another_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images that came or went between kill and resumption change the order of all that follow, and the steps."""
    with pytest.raises(tiny.Killed):
        train(begin(tmp_path, recipe(unit="epochs", length=3), tiny.After(KILLED, tiny.kill)))
    monkeypatch.setitem(tiny.IMAGES, "train", 9)
    tiny.pairs.cache_clear()
    try:
        refused(tmp_path, r"data.train: 13 images, \w+ -> 9 images, \w+", recipe(unit="epochs", length=3))
    finally:
        tiny.pairs.cache_clear()


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    begin(tmp_path)  # an empty folder is nobody's
    (tmp_path / NAME / "thesis.tex").write_text("Chapter 1")
    refused(
        tmp_path,
        r"tiny holds files but no state.pt to go on from; pass --restart to rename it and start over, or another",
    )


def test_a_run_that_was_stopped_before_its_first_state_begins_again(tmp_path: Path) -> None:
    """Nothing is lost with it. A finished run whose state was removed is something else: its weights stay."""
    with pytest.raises(tiny.Killed):
        train(begin(tmp_path / "killed", objective=tiny.After(1, tiny.kill)))
    assert set(tree(tmp_path / "killed" / NAME)) == {"metrics.jsonl", "run.json"}
    for to in ("killed", "whole"):
        train(begin(tmp_path / to))
    assert differing(left(tmp_path / "whole" / NAME), left(tmp_path / "killed" / NAME)) == []

    for state in ("state.pt", "state.previous.pt"):
        (tmp_path / "whole" / NAME / state).unlink()
    refused(tmp_path / "whole", r"tiny holds files but no state.pt to go on from")


@pytest.mark.parametrize("content", [{"epoch": 3, "model": {}}, [1, 2], "weights"])
def test_a_state_of_somebody_else_is_refused(tmp_path: Path, content: Any) -> None:
    (tmp_path / NAME).mkdir()
    torch.save(content, tmp_path / NAME / "state.pt")
    refused(tmp_path, r"state.pt")


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    train(begin(tmp_path, recipe(length=2)))
    path = tmp_path / NAME / "state.pt"
    path.write_bytes(path.read_bytes()[:-1000])
    refused(tmp_path, r"state.pt can't be read: .*; remove it to start over", recipe(length=2))


def test_restart_sets_the_old_folder_aside(tmp_path: Path) -> None:
    """Nothing is ever overwritten: the first run becomes `tiny.1`, the second `tiny.2`."""
    what = recipe(length=2)
    train(begin(tmp_path, what))
    first = tree(tmp_path / NAME)
    train(begin(tmp_path, what, seed=1, restart=True))
    assert tree(tmp_path / f"{NAME}.1") == first
    assert checkpoint.load_state(tmp_path / NAME / "state.pt")["seed"] == 1
    second = tree(tmp_path / NAME)
    counted = tiny.After(10**6, tiny.kill)
    train(begin(tmp_path, what, counted, seed=1, restart=True))
    assert counted.calls == 2  # the same run once more, from its beginning
    assert tree(tmp_path / f"{NAME}.2") == second
    assert tree(tmp_path / f"{NAME}.1") == first
