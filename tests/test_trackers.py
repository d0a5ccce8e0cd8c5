"""What trackers are given, read by TensorBoard's own reader."""

import time
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import tiny
from PIL import Image
from tiny import NAME, begin, recipe
from torch import Tensor

from core import files
from core.training.loop import train

events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
hparams = pytest.importorskip("tensorboard.plugins.hparams.plugin_data_pb2")
OPTIONS: dict[str, Any] = {"trackers": ("tensorboard",), "validate_every": 1, "keep": "best"}
STEPS = list(range(1, 9))


pytestmark = [pytest.mark.usefixtures("alone"), pytest.mark.slow]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is killed after five steps, goes on from its state of step 4, ends, and is asked for once more."""
    to = tmp_path_factory.mktemp("run")

    def die(terms: dict[str, Tensor]) -> None:
        raise tiny.Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCELERATE_USE_CPU", "true")
        with pytest.raises(tiny.Killed):
            train(begin(to, recipe(), tiny.After(5, die), **OPTIONS))
        time.sleep(1.1)  # files of events are ordered by the second
        train(begin(to, recipe(), **OPTIONS))
        train(begin(to, recipe(), **OPTIONS))
    return to / NAME


@pytest.fixture(scope="module")
def read(run: Path) -> Any:
    reader = events.EventAccumulator(str(run / NAME), size_guidance={events.IMAGES: 0, events.SCALARS: 0})
    return reader.Reload()


@pytest.mark.slow
def test_every_step_is_there_once_after_a_kill(run: Path, read: Any) -> None:
    lines = [line for line in tiny.metrics(run) if "loss" in line]
    for tag, values in {
        "loss": [line["loss"] for line in lines],
        "learning_rate": [line["learning_rate"] for line in lines],
        "labels": [line["terms"]["labels"] for line in lines],
        "size": [line["terms"]["size"] for line in lines],
    }.items():
        assert [event.step for event in read.Scalars(tag)] == STEPS
        assert [event.value for event in read.Scalars(tag)] == pytest.approx(values, rel=1e-6)


def test_validations_and_the_final_score_are_there_once_with_every_class(run: Path, read: Any) -> None:
    score = files.read_json(run / "score.json")
    for kind, steps in (("validation", [3, 6, 8]), ("test", [8])):
        for name in ("mean_iou", "pixel_accuracy"):
            assert [event.step for event in read.Scalars(f"{kind}/{name}")] == steps
    assert read.Scalars("test/mean_iou")[0].value == pytest.approx(score["mean_iou"], rel=1e-6)
    classes = {name: value for name, value in score["iou"].items() if value is not None}
    assert len(classes) > 5
    for name, value in classes.items():
        (event,) = read.Scalars(f"test/iou/{name}")
        assert event.value == pytest.approx(value, rel=1e-6)


def test_predictions_are_pictures_of_every_validation(read: Any) -> None:
    shown = read.Images("validation/predictions")
    assert [event.step for event in shown] == [3, 6, 8]
    pictures = [Image.open(BytesIO(event.encoded_image_string)) for event in shown]
    assert all(picture.width > 4 * 240 and picture.height > 3 * 200 for picture in pictures)  # three rows of four
    assert pictures[0].tobytes() != pictures[-1].tobytes()


def test_recipe_and_run_are_flat_settings(run: Path) -> None:
    """Those of the command that began it and of the one that went on; a run that was over starts no tracker."""
    folders = [path for path in (run / NAME).iterdir() if path.is_dir() and list(path.glob("events*"))]
    assert len(folders) == 2
    for folder in folders:
        reader = events.EventAccumulator(str(folder)).Reload()
        content = reader.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
        settings = hparams.HParamsPluginData.FromString(content).session_start_info.hparams
        assert settings["recipe.optimisation.batch"].number_value == 4
        assert settings["recipe.optimisation.schedule"].string_value == "poly"
        assert settings["recipe.protocol.flip"].number_value == 1
        assert settings["run.save_every"].number_value == 2
        assert settings["run.keep"].string_value == "best"
        assert settings["run.cache"].string_value == "None"
