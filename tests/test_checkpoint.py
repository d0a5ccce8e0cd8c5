"""Files of a run: whole or not there, and never executed."""

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from hostile import Hostile

from core.files import read_json, write_json, written_aside
from core.networks.weights import read_shapes, read_weights, refuse_misfits, unwrapped
from core.training.checkpoint import Metrics, load_state, save_state

STATE = {"weights": torch.arange(2000.0).reshape(40, 50), "step": 3, "recipe": {"name": "x", "scales": [0.5, 1.0]}}


def test_a_writer_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "score.json"
    write_json(path, {"mean_iou": 1.0})

    def fail() -> None:
        with written_aside(path) as aside:
            assert aside.parent == path.parent  # a rename within one file system, which cannot be half done
            aside.write_text('{"mean_')
            raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        fail()
    assert read_json(path) == {"mean_iou": 1.0}
    write_json(path, {"mean_iou": 2.0})  # and what the failure left aside is in nobody's way
    assert read_json(path) == {"mean_iou": 2.0}
    assert os.listdir(tmp_path) == ["score.json"]


def test_the_old_file_is_there_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "value"
    path.write_text("old")
    with written_aside(path) as aside:
        aside.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_a_file_that_is_not_there_reads_as_none(tmp_path: Path) -> None:
    assert read_json(tmp_path / "score.json") is None


def test_a_state_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    save_state(path, STATE)
    state = load_state(path)
    assert torch.equal(state.pop("weights"), STATE["weights"])
    assert state == {"step": 3, "recipe": {"name": "x", "scales": [0.5, 1.0]}}
    assert os.listdir(tmp_path) == ["state.pt"]


@pytest.mark.parametrize("kept", [0, 1, 100, 4000, -1000, -1])
def test_a_cut_state_is_refused(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "state.pt"
    save_state(path, STATE)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(
        ValueError, match=r"state.pt can't be read: it is damaged, .*; remove it to start over"
    ) as caught:
        load_state(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"hello", b"\x80\x02.", b"PK\x03\x04" + bytes(100), bytes(5000), b"c\nx\n."])
def test_a_file_that_is_no_state_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "state.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"state.pt can't be read"):
        load_state(tmp_path / "state.pt")


def test_a_file_that_is_not_a_dict_is_refused(tmp_path: Path) -> None:
    torch.save([torch.zeros(2)], tmp_path / "state.pt")
    with pytest.raises(ValueError, match=r"state.pt can't be read: it holds a list"):
        load_state(tmp_path / "state.pt")


@pytest.mark.parametrize("archive", [True, False])
def test_nothing_in_a_state_is_executed(tmp_path: Path, archive: bool) -> None:
    """A checkpoint from a stranger is a program, unless it is read as tensors only."""
    path, made = tmp_path / "state.pt", tmp_path / "made"
    state = {**STATE, "hostile": Hostile(made)}
    torch.save(state, path, _use_new_zipfile_serialization=archive)
    with pytest.raises(ValueError, match=r"state.pt can't be read"):
        load_state(path)
    assert not made.exists()

    path.write_bytes(pickle.dumps(state["hostile"], protocol=2))
    with pytest.raises(ValueError, match=r"state.pt can't be read"):
        load_state(path)
    assert not made.exists()

    pickle.loads(path.read_bytes())
    assert made.is_dir()  # it was a working attack


TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}


def save_weights(path: Path, content: Any = TENSORS) -> Path:
    (safetensors.torch.save_file if path.suffix == ".safetensors" else torch.save)(content, path)
    return path


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth", "w.pt", "w.bin", "w.pth.tar"])
def test_weights_are_read_from_every_kind_of_file(tmp_path: Path, name: str) -> None:
    tensors = read_weights(save_weights(tmp_path / name))
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(value, TENSORS[key]) for key, value in tensors.items())


def test_numbers_of_numpy_are_no_code(tmp_path: Path) -> None:
    kinds = (np.float16, np.float32, np.float64, np.int32, np.int64, np.uint8, np.bool_)
    path = save_weights(tmp_path / "w.pth", {"best": [kind(1) for kind in kinds], "state_dict": TENSORS})
    assert read_weights(path).keys() == TENSORS.keys()


@pytest.mark.parametrize("before", ["_orig_mod.", "module.", "module._orig_mod.", "_orig_mod.module."])
def test_what_wrappers_put_before_names_is_left_out(tmp_path: Path, before: str) -> None:
    path = save_weights(tmp_path / "w.safetensors", {f"{before}{key}": value for key, value in TENSORS.items()})
    assert read_weights(path).keys() == TENSORS.keys()
    assert unwrapped("backbone._orig_mod.conv.weight") == "backbone.conv.weight"
    torch.save({"a": torch.ones(1), "module.a": torch.ones(1)}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"names that differ in 'module\.' or '_orig_mod\.' only"):
        read_weights(tmp_path / "w.pth")


@pytest.mark.parametrize("wrapping", ["state_dict", "model"])
def test_the_wrappings_of_training_scripts_are_taken_off(tmp_path: Path, wrapping: str) -> None:
    content = {
        "epoch": 3,
        "best": np.float64(0.5),
        wrapping: {f"module.{key}": value for key, value in TENSORS.items()},
    }
    assert read_weights(save_weights(tmp_path / "w.pth", content)).keys() == TENSORS.keys()


@pytest.mark.parametrize("kept", [0, 3, 100, -5])
@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_weights_that_were_cut_off_are_refused(tmp_path: Path, name: str, kept: int) -> None:
    path = save_weights(tmp_path / name)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=rf"{name} is damaged, cut off, or holds more than tensors"):
        read_weights(path)
    with pytest.raises(ValueError, match=rf"{name} is damaged or cut off"):
        read_shapes(path)


@pytest.mark.parametrize("name", ["w.pth", "w.pt", "w.bin", "w.pth.tar", "w.safetensors"])
@pytest.mark.parametrize("archive", [True, False])
def test_nothing_in_weights_is_executed(tmp_path: Path, name: str, archive: bool) -> None:
    path, made = tmp_path / name, tmp_path / "made"
    torch.save({**TENSORS, "hostile": Hostile(made)}, path, _use_new_zipfile_serialization=archive)
    with pytest.raises(ValueError, match="which could run code and is not loaded"):
        read_weights(path)
    with pytest.raises(ValueError, match="is damaged or cut off"):
        read_shapes(path)
    assert not made.exists()


def test_what_are_no_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"weights are a \.safetensors, .* file, got '.*w\.zip'"):
        read_weights(tmp_path / "w.zip")
    with pytest.raises(FileNotFoundError, match=r"no file of weights .*w\.pth"):
        read_weights(tmp_path / "w.pth")
    with pytest.raises(ValueError, match="is not a state dict: a dict of tensors"):
        read_weights(save_weights(tmp_path / "w.pth", {"a": 1}))


def test_shapes_are_read_without_the_tensors(tmp_path: Path) -> None:
    assert read_shapes(save_weights(tmp_path / "w.safetensors")) == {"a.weight": (2, 3), "a.bias": (2,)}


def test_all_that_does_not_fit_is_listed() -> None:
    expected: dict[str, tuple[int, ...]] = {"a": (2,), "b": (3, 3), **{f"n{number}": () for number in range(10)}}
    refuse_misfits("A does not fit B", expected, dict(expected))
    with pytest.raises(ValueError, match="A does not fit B; ") as caught:
        refuse_misfits("A does not fit B", expected, {"a": (2,), "b": (3,), "c": ()})
    assert str(caught.value) == (
        "A does not fit B; missing: n0, n1, n2, n3, n4, n5, n6, n7 and 2 more; unexpected: c; "
        "of another shape: b (3,) instead of (3, 3)"
    )


LINES: list[dict[str, Any]] = [
    {"step": 1, "loss": 2.5},
    {"step": 2, "loss": 2.0},
    {"step": 2, "validation": {"mean_iou": 10.0}},
    {"step": 3, "loss": 1.5},
    {"step": 4, "loss": 1.25},
    {"step": 4, "test": {"mean_iou": 20.0}},
]


def written(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize(("step", "kept"), [(0, 0), (1, 1), (2, 3), (3, 4), (4, 5)])
def test_lines_after_the_resumed_step_are_dropped(tmp_path: Path, step: int, kept: int) -> None:
    """They will be written again; the test of a finished run too, so that there is one."""
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in LINES))
    metrics = Metrics(path, step)
    assert metrics.lines == written(path) == LINES[:kept]
    metrics.add(step=9, loss=0.5)
    assert metrics.lines == written(path) == [*LINES[:kept], {"step": 9, "loss": 0.5}]
    assert os.listdir(tmp_path) == ["metrics.jsonl"]


@pytest.mark.parametrize("cut", [1, 2, 10, 17])
def test_a_cut_last_line_is_dropped(tmp_path: Path, cut: int) -> None:
    """A kill in the middle of a line must not glue the next one to it."""
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in LINES[:2])[:-cut])
    metrics = Metrics(path, 5)
    whole = LINES[:2] if cut == 1 else LINES[:1]  # only its line break is missing
    assert metrics.lines == written(path) == whole
    metrics.add(step=2, loss=2.0)
    assert written(path) == [*whole, LINES[1]]


@pytest.mark.parametrize("foreign", ["7", "[]", "{}", '"step"'])
def test_what_is_no_line_of_a_run_ends_its_metrics(tmp_path: Path, foreign: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps(LINES[0]) + f"\n{foreign}\n")
    assert Metrics(path, 5).lines == written(path) == LINES[:1]


def test_metrics_begin_without_a_file(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path / "metrics.jsonl", 0)
    assert metrics.lines == []
    assert (tmp_path / "metrics.jsonl").read_bytes() == b""


def test_only_the_writing_process_writes(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path / "metrics.jsonl", 0, writing=False)
    metrics.add(step=1, loss=1.0)
    assert metrics.lines == []
    assert not list(tmp_path.iterdir())
