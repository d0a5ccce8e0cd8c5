"""Publishing to a Hub and loading from it, by the unmodified huggingface_hub, over HTTP: `hub_server` answers."""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import forked
import pytest
import torch
from hub_runs import demo_network, finished_run
from hub_server import TOKEN, Hub, Repository
from seeded import image
from torch import Tensor

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow]  # as many threads as the other processes have

CLIENT = Path(__file__).with_name("hub_client.py")


@dataclass
class RoundTrip:
    """What came of it: the folder that was published, the server, and what a client found."""

    run: Path
    hub: Hub
    published: str
    found: dict[str, Any]
    scores: dict[str, Tensor]
    offline: dict[str, Any]


def command(*words: str, url: str, home: Path, **environment: str) -> str:
    """Run a process that takes `url` for the Hub and `home` for its cache, and return what it prints."""
    chosen = {
        "HF_ENDPOINT": url,
        "HF_HOME": str(home),
        "HF_TOKEN": TOKEN,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        **environment,
    }
    done = forked.served([sys.executable, *words], env=chosen)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def trip(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoundTrip]:
    """Publish a run by the command; load it in another process with an empty cache, and in one that is offline."""
    place = tmp_path_factory.mktemp("trip")
    run = finished_run(place / "run")
    with Hub() as hub:
        words = ("-m", "hub.publish", "danet-demo", str(run), "--repo", "org/danet-demo", "--onnx")
        published = command(*words, url=hub.url, home=place / "publisher")
        _add_broken(hub, run)
        found = json.loads(command(str(CLIENT), str(place), url=hub.url, home=place / "reader").splitlines()[-1])
        hub.requests.append("offline")
        answer = command(str(CLIENT), str(place), "offline", url=hub.url, home=place / "reader", HF_HUB_OFFLINE="1")
        scores = torch.load(place / "scores.pt", weights_only=True)
        yield RoundTrip(run, hub, published, found, scores, json.loads(answer.splitlines()[-1]))


def _add_broken(hub: Hub, run: Path) -> None:
    """Repositories that must not load."""
    weights, config = (run / "model.safetensors").read_bytes(), (run / "config.json").read_bytes()
    unknown = config.replace(b'"DANet"', b'"OtherNet"')
    assert unknown != config
    broken = {
        "org/no-config": {"model.safetensors": weights},
        "org/cut": {"config.json": config, "model.safetensors": weights[:-1000]},
        "org/interrupted": {"config.json": config, "model.safetensors": weights + b"?"},
        "org/unknown": {"config.json": unknown, "model.safetensors": weights},
    }
    for name, files in broken.items():
        hub.repositories[name] = Repository(private=False)
        hub.repositories[name].commit(files, "by hand")
    hub.cut(weights + b"?", 100_000)


def test_what_is_published_comes_back_to_the_last_bit(trip: RoundTrip) -> None:
    with torch.inference_mode():
        expected = demo_network(0)(image(65, 97)).scores
    assert trip.found["class"] == "DANet"
    for name in ("published", "pinned", "first", "offline"):
        assert torch.equal(trip.scores[name], expected), name


def test_the_graph_of_a_repository_answers_like_its_network(trip: RoundTrip) -> None:
    """At a size that is neither that of the export nor that of its check."""
    with torch.inference_mode():
        expected = demo_network(0)(image(65, 97)).scores
    torch.testing.assert_close(trip.scores["onnx"], expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


def test_publish_makes_one_commit(trip: RoundTrip) -> None:
    repository = trip.hub.repositories["org/danet-demo"]
    assert [message for *_, message in repository.commits] == ["initial commit", "Publish danet-demo at 0123abc"]
    _, files, _ = repository.commits[-1]
    ours = {"model.safetensors", "fingerprint.json", "score.json"}
    doors = {"modeling_danet.py", "preprocessor_config.json", "config.json"}
    told = {"README.md", "picture.png", ".eval_results/scenes.yaml"}
    assert set(files) == {*ours, *doors, *told, "model.onnx", ".gitattributes"}
    assert b"`model.onnx` maps such an `image` (b 3 h w, float32) to `scores`" in files["README.md"]
    for name in ours:
        assert files[name] == (trip.run / name).read_bytes()
    assert f"{trip.hub.url}/org/danet-demo/commit/{repository.commits[-1][0]}" in trip.published


def test_a_commit_pins_the_weights(trip: RoundTrip) -> None:
    """The same repository, changed by a second push: a branch follows, a commit and a tag do not."""
    with torch.inference_mode():
        second = demo_network(1)(image(65, 97)).scores
    assert not torch.equal(trip.scores["first"], second)
    assert torch.equal(trip.scores["second"], second)
    assert torch.equal(trip.scores["tagged"], trip.scores["first"])


def test_a_pinned_and_cached_checkpoint_asks_nobody(trip: RoundTrip) -> None:
    start, end = (trip.hub.requests.index(f"GET /mark/{name}") for name in ("pinned", "pinned-end"))
    assert end == start + 1
    assert trip.hub.requests[-1] == "offline"


def test_a_private_repository_needs_the_token(trip: RoundTrip) -> None:
    assert trip.hub.repositories["org/secret"].private
    assert trip.found["secret with token"] == "loaded"
    refusal = trip.found["secret without token"]
    assert refusal.startswith("ValueError: there is no folder org/secret, and on http://127.0.0.1")
    assert "or it is private and opens to no token of yours" in refusal


@pytest.mark.parametrize(
    ("case", "sentence"),
    [
        ("org/nothing", "ValueError: there is no folder org/nothing, and on {url} no repository of that name, or"),
        ("org/danet-demo@v9", "ValueError: org/danet-demo on {url} has no revision 'v9'; give a branch, a tag or a"),
        ("org/no-config", "ValueError: org/no-config on {url} has no config.json at main; a checkpoint has"),
        ("org/cut", "model.safetensors is damaged or cut off ("),
        ("org/interrupted", "OSError: can't get model.safetensors of org/interrupted from {url}: "),
        ("org/unknown", "ValueError: org/unknown holds a network of the class 'OtherNet'; there are DANet, "),
        ("not/a/name", "ValueError: not/a/name is neither a folder nor the name of a repository, such as org/name"),
    ],
)
def test_what_can_not_be_loaded_is_said_in_one_sentence(trip: RoundTrip, case: str, sentence: str) -> None:
    assert sentence.format(url=trip.hub.url) in trip.found[case]
    assert "\n" not in trip.found[case]


def test_offline_what_is_not_cached_is_said(trip: RoundTrip) -> None:
    """What is cached loads: its scores were compared above."""
    refusal = trip.offline["org/nothing"]
    assert refusal.startswith("OSError: there is no folder org/nothing, the Hub's cache holds no config.json of it")
    assert "run `hf download org/nothing` where it can" in refusal


def test_the_server_is_another_computer_to_the_client(trip: RoundTrip) -> None:
    """Large files went by git-LFS, and none of our own environment reached the Hub of the tests."""
    puts = [line for line in trip.hub.requests if line.startswith("PUT /lfs/")]
    assert len(puts) == 6  # one for each push of new weights, and three large files: modelling file, graph and picture
    assert os.environ.get("HF_ENDPOINT") != trip.hub.url
