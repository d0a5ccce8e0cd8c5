"""What is asked of a configuration that another library wrote, and the words of other libraries."""

import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hub_runs import demo_network, finished_run

import hub
from core.networks import words
from core.networks.configuration import DOOR, TRAINED_ON, read
from core.networks.network import Network
from core.recipe import Protocol
from hub.publish import Options, gather
from papers.danet import DANet

SCENES = demo_network(0).classes


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return finished_run(tmp_path / "saved")


def edit(folder: Path, **changes: Any) -> None:
    """Change the configuration in a folder; None removes a word."""
    config = {**json.loads((folder / "config.json").read_text()), **changes}
    (folder / "config.json").write_text(
        json.dumps({name: value for name, value in config.items() if value is not None})
    )


def by_transformers(folder: Path, names: Any = SCENES.names, **changes: Any) -> None:
    """Write what transformers writes; `test_doors` has what it really does."""
    labels = {str(number): name for number, name in enumerate(names)} if isinstance(names, tuple) else names
    edit(
        folder, architectures=[f"DANet{DOOR}"], id2label=labels, transformers_version="5.0.0", num_classes=7, **changes
    )


@pytest.mark.slow
def test_what_transformers_saved_has_its_classes_and_our_protocol(saved: Path) -> None:
    by_transformers(saved)
    about = hub.from_pretrained(saved, verify=True).about
    ours = demo_network(0).about
    assert about is not None
    assert ours is not None
    assert (about.classes, about.protocol, about.recipe) == (ours.classes, ours.protocol, ours.recipe)
    assert about.changed == {TRAINED_ON: ["no", "saved by transformers 5.0.0"]}

    others = tuple(f"thing {number}" for number in range(10))
    by_transformers(saved, others)
    network = DANet.from_pretrained(saved)
    assert network.classes.names == others
    assert len(set(network.classes.palette)) == 10


def test_what_names_no_classes_has_those_of_transformers(saved: Path) -> None:
    by_transformers(saved, None, about=None)
    config = read(saved)
    assert config["num_classes"] == 2
    assert config["about"]["classes"]["names"] == ["LABEL_0", "LABEL_1"]
    assert config["about"]["protocol"] == {}
    demo_network(0).save_pretrained(saved)
    by_transformers(saved, about=None)
    about = hub.from_pretrained(saved).about
    assert about is not None
    assert about.protocol == Protocol()


@pytest.mark.parametrize(
    "labels",
    [
        {},
        [],
        {"1": "a", "2": "b"},
        {"0": "a", "2": "b"},
        {"0": 3},
        {"0": "a", "00": "b"},
        {"0": "a", "x": "b"},
        "ab",
        3,
    ],
)
def test_classes_that_are_not_counted_from_zero_are_refused(saved: Path, labels: Any) -> None:
    by_transformers(saved, labels)
    with pytest.raises(ValueError, match="id2label must name each class, by numbers from 0 on"):
        hub.from_pretrained(saved)


def test_a_network_of_another_library_is_said(saved: Path) -> None:
    edit(saved, architectures=["SegformerForSemanticSegmentation"], architecture=None)
    with pytest.raises(ValueError, match="SegformerForSemanticSegmentation is of another library; load it with that"):
        hub.from_pretrained(saved)


def test_classes_of_one_name_are_refused(saved: Path) -> None:
    by_transformers(saved, ("same",) * 10)
    with pytest.raises(ValueError, match="class names must differ"):
        hub.from_pretrained(saved)


def test_what_may_have_been_trained_on_is_not_published_as_a_run(saved: Path) -> None:
    by_transformers(saved)
    with pytest.raises(
        ValueError, match=r"was saved by transformers 5\.0\.0, which may have trained it on.*push_to_hub"
    ):
        gather(Options("danet-demo", saved, "org/mine"))


@pytest.mark.parametrize("load", [hub.from_pretrained, DANet.from_pretrained])
def test_words_of_other_libraries_are_said_with_ours(saved: Path, load: Any, no_type_checks: None) -> None:
    taken = "revision, verify, token, cache_dir, local_files_only, force_download, num_classes, map_location"
    for word, instead in words.INSTEAD.items():
        with pytest.raises(ValueError, match=re.escape(f"takes no {word}: {instead}; it takes {taken}")):
            load(saved, **{word: "cpu"})
    with pytest.raises(
        ValueError, match=f"no word of from_pretrained 'cache_dirs', only {taken}; did you mean 'cache_"
    ):
        load(saved, cache_dirs="x")


def test_what_is_said_in_place_of_a_word_can_be_done() -> None:
    ours = inspect.signature(Network.from_pretrained).parameters
    assert list(inspect.signature(hub.from_pretrained).parameters)[1:] == list(ours)[1:]
    assert not set(words.INSTEAD) & set(ours)
    for instead in words.INSTEAD.values():
        for named in re.findall(r"pass (\w+)", instead):
            assert named in ours or named in inspect.signature(Network.predict).parameters, instead
