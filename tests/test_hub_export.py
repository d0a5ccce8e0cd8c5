"""Exported networks answer as they do here, at sizes that were not traced, and say what they can't do."""

import json
import sys
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
import torch
from networks import sample
from seeded import noise, weights
from tiny import Output, Tiny
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

import papers
from core.images.classes import Classes
from core.networks.attention import attention
from core.networks.backbones import Backbone
from core.networks.blocks import part_means
from core.networks.network import About, Network
from core.recipe import Protocol
from hub import export as module
from hub.export import Options, export, main, program

PAPERS = {paper.network.__name__: paper for paper in papers.every()}
TINY = Backbone("resnet10_tiny")
ARCHITECTURES: dict[str, dict[str, Any]] = {  # with regions a RANet can't be exported
    name: {"context": "non-local"} if name == "RANet" else {} for name in PAPERS
}


@pytest.fixture(autouse=True)
def _traceable(no_type_checks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without shape checks, which the exporter can't trace, and traced at a small size."""
    monkeypatch.setattr(module, "SIZE", (72, 104))


def drawn(network: Network) -> Network:
    """A network with weights drawn from their names, and its attention switched on."""
    network.load_state_dict(weights({key: tuple(value.shape) for key, value in network.state_dict().items()}))
    network.about = About(Classes.coloured([f"class {k}" for k in range(network.num_classes)]), Protocol())
    return network.eval()


def of_a_paper(name: str, **fields: Any) -> Network:
    recipe = next(iter(PAPERS[name].recipes.values()))
    make: Any = PAPERS[name].network
    return drawn(make(5, type(recipe.architecture)(TINY, **fields)))


@torch.no_grad()
def error(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max() / ours.abs().max())


def said_to_vary(network: Network, path: Path) -> None:
    said = export(network, path)
    assert said.count("of the largest score") == 2
    assert "batch, height, width may vary" in said


def onnx_of(network: Network, path: Path) -> onnxruntime.InferenceSession:
    said_to_vary(network, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [given.shape for given in session.get_inputs()] == [["batch", 3, "height", "width"]]
    return session


def graph_of(network: Network, path: Path) -> nn.Module:
    said_to_vary(network, path)
    extra = {"config.json": ""}
    graph = torch.export.load(path, extra_files=extra).module()
    assert json.loads(extra["config.json"])["mean"] == list(network.normalisation.mean)
    return graph


@pytest.mark.slow
@pytest.mark.parametrize("name", PAPERS)
def test_every_paper_exports_for_any_size(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("papers.pdanet.model.LEVELS", (1, 3))  # which have every operator of its four
    network = of_a_paper(name, **ARCHITECTURES[name])
    if name != "DANet":  # a backbone is half of the work, and the same for all
        sample(network)
        drawn(network)
    exported = program(network)
    operators = {str(node.target) for node in exported.graph.nodes if isinstance(node.target, torch._ops.OpOverload)}
    assert {operator.split(".")[0] for operator in operators} == {"aten"}
    monkeypatch.setattr(module, "program", lambda *_: exported)  # traced once for both files
    session = onnx_of(network, tmp_path / "model.onnx")
    answers = [lambda image: torch.from_numpy(session.run(["scores"], {"image": image.numpy()})[0])]
    if name == "DANet":  # the graph as it is: of operators that are all PyTorch's it does not matter which
        answers.append(graph_of(network, tmp_path / "model.pt2"))
    for shape in ((1, 3, 65, 131), (3, 3, 128, 66)):
        image = noise(*shape)
        for answer in answers:
            with torch.no_grad():
                assert error(network(image).scores, answer(image)) < 1e-5
    facts = onnx.load(tmp_path / "model.onnx", load_external_data=False).metadata_props
    (text,) = (entry.value for entry in facts if entry.key == "config.json")
    assert json.loads(text)["classes"]["names"] == [f"class {k}" for k in range(5)]


def test_regions_are_refused_before_anything_is_traced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(module, "program")
    with pytest.raises(ValueError, match="a RANet with regions can't be exported: .* ranet-tiny-camvid-backbone makes"):
        export(of_a_paper("RANet"), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


class OneSize(Tiny):
    """A network whose graph is for the traced size."""

    def forward(self, image: Tensor) -> Output:
        return Output(super().forward(image).scores * int(image.shape[2]))


@pytest.mark.slow
def test_a_network_for_one_size_asks_for_it(tmp_path: Path) -> None:
    network = drawn(OneSize(3))
    with pytest.raises(ValueError, match="this OneSize can be exported for one size only; pass --size HEIGHT WIDTH"):
        export(network, tmp_path / "model.pt2")
    said = export(network, tmp_path / "model.pt2", (72, 80))
    assert "at 2 x 3 x 72 x 80 it differs by" in said
    assert "batch may vary, not height, width" in said
    graph = torch.export.load(tmp_path / "model.pt2").module()
    image = noise(1, 3, 72, 80)
    with torch.no_grad():
        assert error(network(image).scores, graph(image)) < 1e-5


def test_a_folder_that_cannot_be_is_said_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "program", lambda *_: pytest.fail("traced"))
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="file is a file, not a folder; choose another"):
        export(drawn(Tiny(3)), tmp_path / "file" / "model.pt2")


@pytest.mark.slow
def test_a_graph_that_answers_otherwise_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = drawn(Tiny(3))
    other = program(drawn(Tiny(3)))
    with torch.no_grad():
        network.get_parameter("gain").fill_(1.01)
    monkeypatch.setattr(module, "program", lambda *_: other)
    with pytest.raises(ValueError, match="is off by .* of the largest score at .*; not kept"):
        export(network, tmp_path / "model.pt2")
    assert not list(tmp_path.iterdir())


# The forms that are put in place of operators


def test_plain_attention_is_attention() -> None:
    Q, K, V = (noise(2, width, number, seed=seed) for seed, (width, number) in enumerate([(4, 35), (4, 21), (6, 21)]))
    Y, Z = module._attention(Q, K, V)
    torch.testing.assert_close(Y, attention(Q, K, V), atol=1e-6, rtol=0)
    torch.testing.assert_close(Z, torch.ops.core.attention(Q, K, V)[1])


@pytest.mark.parametrize("size", [(7, 9), (6, 12), (5, 3), (1, 1)])
@pytest.mark.parametrize("bins", [1, 2, 3, 6])
def test_plain_adaptive_average_is_pytorchs(size: tuple[int, int], bins: int) -> None:
    maps = noise(2, 3, *size)
    ours = part_means(maps, (bins, bins + 1))
    torch.testing.assert_close(ours, adaptive_avg_pool2d(maps, (bins, bins + 1)), atol=1e-6, rtol=0)


# The command


@pytest.mark.slow
def test_the_command_exports_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    of_a_paper("DANet", position_attention="none", channel_attention="none").save_pretrained(tmp_path / "run")
    to = tmp_path / "new" / "model.pt2"
    monkeypatch.setattr(sys, "argv", ["export", str(tmp_path / "run"), "--to", str(to)])
    main()
    assert f"wrote {to}; batch, height, width may vary\n" in capsys.readouterr().out
    assert [path.name for path in to.parent.iterdir()] == ["model.pt2"]

    with pytest.raises(SystemExit):
        main()
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"to": Path("model.pth")}, r"--to must end in \.onnx or \.pt2, got 'model\.pth'"),
        ({"to": Path("model.onnx"), "size": (32, 64)}, r"--size must be at least 65 pixels, got \(32, 64\)"),
        ({"to": Path(__file__).with_suffix(".pt2"), "size": (65, 64)}, r"--size must be at least 65 pixels"),
    ],
)
def test_refusals_say_what_is_allowed(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Options("run", **given)


def test_onnx_is_refused_without_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(ValueError, match="ONNX needs onnxscript: pip install onnx onnxscript onnxruntime"):
        Options("run", Path("model.onnx"))
    Options("run", Path("model.pt2"))
