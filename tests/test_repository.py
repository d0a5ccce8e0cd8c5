"""Where a checkpoint is looked for: here or on the Hub, and how fast it is said that it is not there."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import tiny
from hub_runs import demo_network

import hub
from core.networks import backbones, repository
from core.networks.backbones import Backbone
from core.networks.pretrained import load_weights
from papers.danet import DANet

UNREACHABLE = "http://127.0.0.1:9"  # a port that nobody listens at


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(repository, "SHIPPED", tmp_path / "shipped")


@pytest.fixture
def _no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anyone who asks the Hub fails."""
    monkeypatch.setattr(repository, "download", lambda *words: pytest.fail("the Hub was asked"))


@pytest.mark.usefixtures("_no_hub")
@pytest.mark.parametrize(
    "where", ["runs/danet-demo", "./org/name", "../name", "/no/where", "~/run", "org/", "a\\b", "danet-demo"]
)
def test_what_looks_like_a_path_is_one(where: str) -> None:
    with pytest.raises(ValueError, match="there is no folder .*(no checkpoint lies beside it|instead of ~)"):
        hub.from_pretrained(where)


@pytest.mark.usefixtures("_no_hub")
def test_what_begins_with_a_folder_that_is_here_is_a_path() -> None:
    demo_network(0).save_pretrained(Path("mine/danet-demo"))
    with pytest.raises(ValueError, match=r"no folder mine/danet-dmo; beside it are mine/danet-demo; if a .*revision"):
        hub.from_pretrained("mine/danet-dmo")


@pytest.mark.usefixtures("_no_hub")
def test_a_name_alone_is_looked_for_among_runs() -> None:
    demo_network(0).save_pretrained(Path("runs/danet-demo"))
    with pytest.raises(ValueError, match=r"no folder danet-demo; beside it are runs/danet-demo$"):
        hub.from_pretrained("danet-demo")


@pytest.mark.parametrize("where", ["", None, 3, b"run"])
def test_what_is_no_name_is_refused(where: Any, no_type_checks: None) -> None:
    for load in (hub.from_pretrained, DANet.from_pretrained):
        with pytest.raises(ValueError, match=f"as a text or a Path, got {where!r}"):
            load(where)


@pytest.mark.parametrize("where", ["https://huggingface.co/org/name", "org/name@main", "org/name.git"])
def test_an_address_is_no_name(where: str) -> None:
    with pytest.raises(ValueError, match="is neither a folder nor .* a revision is a word of its own, and no address"):
        hub.from_pretrained(where)


def test_a_revision_says_that_the_hub_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("org").mkdir()
    asked = []

    def download(where: str, file: str, revision: str | None, *rest: object) -> Path:
        asked.append((where, file, revision))
        raise OSError("asked")

    monkeypatch.setattr(repository, "download", download)
    with pytest.raises(OSError, match="asked"):
        hub.from_pretrained("org/name", revision="main")
    assert asked == [("org/name", "config.json", "main")]


def test_without_a_network_it_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Hub's client would try again for half a minute, and sleep between."""
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    for proxy in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(proxy, raising=False)
        monkeypatch.delenv(proxy.upper(), raising=False)
    monkeypatch.setattr(repository.constants, "ENDPOINT", UNREACHABLE)
    with pytest.raises(OSError, match=r"no folder org/name, the Hub's cache holds no config\.json of it"):
        hub.from_pretrained("org/name")
    backbone = Backbone("resnet18")
    with pytest.raises(OSError, match=r"cannot get the weights timm/resnet18\.tv_in1k from the Hugging Face Hub"):
        load_weights(backbones.build(backbone), backbone, "hub")
    assert slept == []


@pytest.mark.slow
@pytest.mark.parametrize(("name", "file"), [("hub", "core/__init__.py"), ("papers.danet", "core.py")])
def test_something_else_named_core_is_said(name: str, file: str) -> None:
    Path(file).parent.mkdir(exist_ok=True)
    Path(file).touch()
    words = [sys.executable, "-c", f"import {name}"]
    done = subprocess.run(words, env=tiny.environment(), capture_output=True, text=True, check=False)
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"ImportError: `core` is {Path.cwd() / file} here, not the package beside ")
    assert last.endswith("start Python elsewhere, or rename it")
