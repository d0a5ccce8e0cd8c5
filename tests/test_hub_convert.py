"""Public weights into ours: what is accepted, what is refused, and what the written folder then answers."""

import hashlib
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from seeded import image, weights
from torch import Tensor

import hub
import papers
from core import datasets
from core.networks.backbones import Backbone, build
from core.networks.features import Features
from core.networks.network import Network
from core.networks.pretrained import load_weights
from core.recipe import Protocol
from hub.convert import Options, main, run
from hub.renaming import convert
from papers.danet.model import Architecture, DANet
from papers.danet.public import LAYOUTS as OF_DANET
from papers.danet.recipes import RECIPES
from papers.pdanet.public import LAYOUTS as OF_PDANET

LAYOUTS = OF_DANET | OF_PDANET

PARITY = Path(__file__).parent / "parity"
DEMO = RECIPES["danet-demo"]
TINY = Backbone("resnet10_tiny")


@pytest.fixture(autouse=True)
def _no_type_checks(no_type_checks: None) -> None:
    """What is handed over here is right; checking each of the thousand entries of a state dict takes long."""


def shapes(name: str, layers: int = 50) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a public state dict; those of 101 layers have 17 more blocks in layer3, like the last."""
    stored = json.loads((PARITY / f"{name}.keys.json").read_text())
    if layers == 101:
        for key, shape in dict(stored).items():
            for block in range(6, 23) if ".layer3.5." in key else ():
                stored[key.replace(".layer3.5.", f".layer3.{block}.")] = shape
    return {key: tuple(shape) for key, shape in stored.items()}


def on_meta(architecture: Architecture, classes: int = 19) -> DANet:
    with torch.device("meta"):
        return DANet(classes, architecture).eval()


@pytest.mark.parametrize("layers", [50, 101])
@pytest.mark.parametrize(
    ("name", "layout", "row", "keep"),
    [
        ("danet_r50_official", "danet-released", "danet-r101-cityscapes", False),
        ("danet_r50_mmseg", "danet-mmseg", "danet-r101-cityscapes-mmseg-769", False),
        ("danet_r50_mmseg", "danet-mmseg", "danet-r101-cityscapes-mmseg-769", True),
    ],
    ids=["released", "mmseg", "mmseg, auxiliary kept"],
)
def test_every_name_is_accounted_for(name: str, layout: str, row: str, keep: bool, layers: int) -> None:
    theirs = {key: torch.empty(shape, device="meta") for key, shape in shapes(name, layers).items()}
    architecture = RECIPES[row].architecture
    backbone = replace(architecture.backbone, name=f"resnet{layers}")
    network = on_meta(replace(architecture, backbone=backbone, deep_supervision=keep))
    report = convert(theirs, LAYOUTS[layout], network, keep)
    assert {*report.used, *report.dropped} == set(theirs)
    assert sorted(report.used.values()) == sorted(network.state_dict())
    assert len(report.dropped) == (2 if layout == "danet-released" else 0 if keep else 8)
    assert report.filled == ()


@pytest.mark.slow
def test_files_of_another_depth_are_refused_with_their_names() -> None:
    theirs = {key: torch.empty(shape, device="meta") for key, shape in shapes("danet_r50_mmseg").items()}
    network = on_meta(Architecture(Backbone("resnet101", stem="deep32")))
    with pytest.raises(ValueError, match=r"missing: backbone\.body\.layer3\.6\.conv1\.weight.* and 247 more; unexp"):
        convert(theirs, LAYOUTS["danet-mmseg"], network)
    network = on_meta(Architecture(Backbone("resnet50", stem="deep32")), classes=150)
    with pytest.raises(ValueError, match=r"classify\.1\.weight \(19, 512, 1, 1\) instead of \(150, 512, 1, 1\)"):
        convert(theirs, LAYOUTS["danet-mmseg"], network)


def test_nothing_is_loaded_where_a_name_is_missing_or_unexpected() -> None:
    theirs, network = public_and_ours()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    theirs["head.conv9.weight"] = theirs.pop("head.conv8.1.weight")
    with pytest.raises(ValueError, match=r"missing: classify\.1\.weight; unexpected: head\.conv9\.weight; of another"):
        convert(theirs, LAYOUTS["danet-released"], network)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


# The command, with the demo's network in the layout of the authors' code


def public_and_ours() -> tuple[dict[str, Tensor], DANet]:
    """Seeded weights of the demo's network by the names of the authors' code, and that network."""
    network = DANet(DEMO.data.num_classes, DEMO.architecture).eval()
    network.load_state_dict(weights({key: tuple(value.shape) for key, value in network.state_dict().items()}))
    theirs = {}
    for key, value in network.state_dict().items():
        (prefix,) = (prefix for prefix, ours in LAYOUTS["danet-released"].names.items() if key.startswith(ours))
        name = prefix + key.removeprefix(LAYOUTS["danet-released"].names[prefix])
        theirs[name] = value.reshape(1) if name.endswith("gamma") else value
    return theirs, network


def public_file(path: Path, **changes: Tensor | None) -> Path:
    """A file as the authors' code writes it, half of whose content a converter must look past."""
    theirs = {**public_and_ours()[0], "pretrained.fc.weight": torch.ones(1000, 96), **changes}
    content = {
        "epoch": 240,
        "state_dict": {key: value for key, value in theirs.items() if value is not None},
        "optimizer": {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 0.003, "params": [0]}]},
        "best_pred": np.float64(0.87),
    }
    torch.save(content, path)
    return path


def options(tmp_path: Path, **given: Any) -> Options:
    usual = {"source": "danet-released", "to": tmp_path / "converted", "recipe": "danet-demo"}
    return Options(**{"file": tmp_path / "DANet101.pth.tar", **usual, **given})


@pytest.mark.slow
def test_a_converted_folder_answers_as_the_weights_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = public_file(tmp_path / "DANet101.pth.tar")
    to = tmp_path / "new" / "converted"
    words = ["danet-released", str(file), "--to", str(to), "--recipe", "danet-demo"]
    monkeypatch.setattr(sys, "argv", ["convert", *words])
    main()
    said = capsys.readouterr().out
    assert "missing: none\nunexpected: none\n" in said
    assert "reshaped: position.attend.alpha (1,) to (), channel.attend.beta (1,) to ()\n" in said
    assert "dropped: pretrained.fc.weight\nfilled with 0: none\n" in said
    assert f"papers/danet/evaluate.py danet-demo --weights {to} --data DIR" in said
    assert {path.name for path in to.parent.iterdir()} == {"converted"}

    network = hub.from_pretrained(to, verify=True)
    expected = public_and_ours()[1]
    with torch.inference_mode():
        for ours, theirs in zip(network(image(65, 97)), expected(image(65, 97)), strict=True):
            assert ours is theirs is None or torch.equal(ours, theirs)
    about = network.about
    assert about is not None
    assert (about.protocol, about.classes) == (DEMO.protocol, datasets.find("scenes").classes)
    assert about.recipe["name"] == "danet-demo"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert about.changed["weights"][1] == f"converted from DANet101.pth.tar (danet-released, sha256 {digest})"


def test_counters_that_old_files_lack_are_filled_in_and_halves_are_widened(tmp_path: Path) -> None:
    counters = {key: None for key in public_and_ours()[0] if key.endswith("num_batches_tracked")}
    half = {"head.conv8.1.weight": public_and_ours()[0]["head.conv8.1.weight"].half()}
    public_file(tmp_path / "DANet101.pth.tar", **counters, **half)
    assert "filled with 0: backbone.body.conv1.1.num_batches_tracked" in run(options(tmp_path))
    state = load_file(tmp_path / "converted" / "model.safetensors")
    assert state["classify.1.weight"].dtype == torch.float32
    assert torch.equal(state["classify.1.weight"], half["head.conv8.1.weight"].float())
    assert sum(key.endswith("num_batches_tracked") for key in state) == len(counters)


class Hostile:
    """Creates a folder when it is unpickled without care."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.proof),)


def cut_off(path: Path) -> None:
    public_file(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def hostile(path: Path) -> None:
    torch.save({"state_dict": public_and_ours()[0], "meta": Hostile(path.parent / "proof")}, path)


def of_mmseg(path: Path) -> None:
    save_file({key: torch.ones(1) for key in shapes("danet_r50_mmseg")}, path)


def shared(path: Path) -> None:
    one = torch.ones(4)
    public_file(path, a=one, b=one)


def overlapping(path: Path) -> None:
    whole = torch.ones(6)
    public_file(path, a=whole[:4], b=whole[3:])


def expanded(path: Path) -> None:
    public_file(path, **{"head.sa.gamma": torch.ones(1).expand(10**9)})


def sparse(path: Path) -> None:
    public_file(path, **{"head.sa.gamma": torch.ones(1).to_sparse()})


def on_meta_device(path: Path) -> None:
    public_file(path, **{"head.sa.gamma": torch.ones(1, device="meta")})


def numbered(path: Path) -> None:
    torch.save({"state_dict": {0: torch.ones(1), 1: torch.ones(1)}}, path)


def whole(path: Path) -> None:
    public_file(path, **{"head.sa.gamma": torch.ones(1, dtype=torch.int32)})


def not_finite(path: Path) -> None:
    public_file(path, **{"head.sa.gamma": torch.tensor([float("nan")])})


@pytest.mark.parametrize(
    ("make", "file", "given", "sentence"),
    [
        (cut_off, "cut.pth", {}, "cut.pth is damaged, cut off, or holds more than tensors"),
        (hostile, "bad.pth", {}, "bad.pth is damaged, cut off, or holds more than tensors, which could run code"),
        (
            of_mmseg,
            "other.safetensors",
            {},
            r"is not in the layout danet-released: of its \d+.* looks like danet-mmseg",
        ),
        (shared, "a.pth", {}, "a.pth holds one tensor as a and as b; save each with .clone()"),
        (overlapping, "a.pth", {}, "a.pth holds a and b in memory that overlaps; save each with .clone()"),
        (expanded, "a.pth", {}, "a.pth holds expanded tensors: head.sa.gamma; save them with .contiguous()"),
        (sparse, "a.pth", {}, "a.pth holds sparse or quantised tensors: head.sa.gamma; save them dense"),
        (on_meta_device, "a.pth", {}, "a.pth holds tensors without numbers, of the meta device: head.sa.gamma; save"),
        (numbered, "a.pth", {}, "a.pth has names that are no text: 0, 1; save a state dict with its names"),
        (whole, "a.pth", {}, "weights of other kinds than floating-point numbers: head.sa.gamma .torch.int32."),
        (not_finite, "nan.pth", {}, "numbers that are not finite, in head.sa.gamma"),
        (public_file, "a.pth", {"recipe": "danet-r50-demo"}, "no recipe 'danet-r50-demo' for danet-released, only"),
        (public_file, "a.pth", {"recipe": None}, r"for 'danet-r101-cityscapes' does not fit DANet.*missing: "),
        (public_file, "a.pth", {"auxiliary": "keep"}, "files of danet-released have no auxiliary classifier"),
        (public_file, "a.pth", {"source": "timm"}, "a backbone has neither a recipe nor"),
        (of_mmseg, "a.safetensors", {"source": "danet-mmseg", "recipe": None}, r"--recipe, one of danet-r50-citysc"),
        (lambda path: None, "absent.pth", {}, "there is no file of weights .*absent.pth"),
        (lambda path: path.write_text("x"), "weights.onnx", {}, r"weights are a \.safetensors.* file, got"),
        (lambda path: None, "a.pth", {"to": Path(__file__).parent}, "tests exists already; remove it, or pass another"),
    ],
)
def test_what_can_not_be_converted_is_refused_and_nothing_is_written(
    make: Any, file: str, given: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    make(tmp_path / file)
    with pytest.raises((ValueError, FileNotFoundError), match=sentence):
        run(options(tmp_path, file=tmp_path / file, **given))
    assert {path.name for path in tmp_path.iterdir()} <= {file}


def test_the_command_says_it_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["convert", "danet-mmseg", str(tmp_path / "a.pth"), "--to", str(tmp_path / "b")])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    assert capsys.readouterr().err == f"error: there is no file of weights {tmp_path / 'a.pth'}\n"


# Every public file of mmsegmentation


@pytest.mark.slow
def test_files_of_mmsegmentation_are_known_by_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    public = {row.row: name for name, recipe in RECIPES.items() for row in recipe.reported if "mmseg" in row.paper}
    assert len(public) == 16
    loaded: dict[str, tuple[str, DANet, Protocol]] = {}

    def keep(self: Network, folder: Path) -> None:
        assert self.about is not None
        loaded["now"] = (self.about.recipe["name"], self, self.about.protocol)

    monkeypatch.setattr(Network, "save_pretrained", keep)
    for file, name in public.items():
        recipe = RECIPES[name]
        theirs = dict(shapes("danet_r50_mmseg", 101 if "r101" in file else 50))
        for key, shape in theirs.items():
            if "conv_seg" in key:
                theirs[key] = (recipe.data.num_classes, *shape[1:])
        path = tmp_path / f"{file}_20200605_191324-c0dbfa5f.pth"
        path.write_bytes(b"")
        state = {key: torch.empty(shape, device="meta") for key, shape in theirs.items()}
        monkeypatch.setattr("hub.convert._read", lambda path, state=state: state)
        run(options(tmp_path, source="danet-mmseg", file=path, to=tmp_path / name, recipe=None))
        found, network, protocol = loaded["now"]
        assert (found, protocol, network.architecture) == (name, recipe.protocol, recipe.architecture)


def test_the_classes_are_those_of_the_data() -> None:
    for paper in papers.every():
        for recipe in paper.recipes.values() if paper.public else ():
            assert len(datasets.find(recipe.data.name).classes or ()) == recipe.data.num_classes


# Backbones


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "backbone"),
    [
        ("torchvision", Backbone("resnet18", output_stride=32)),
        ("timm", Backbone("resnet18", "deep64", output_stride=32)),
        ("timm", TINY),
    ],
    ids=["torchvision", "timm", "timm tiny"],
)
def test_a_converted_backbone_is_one_to_begin_with(source: Any, backbone: Backbone, tmp_path: Path) -> None:
    theirs = drawn(build(backbone))
    torch.save({**theirs, "fc.weight": torch.ones(1000, 8), "fc.bias": torch.ones(1000)}, tmp_path / "a.pth")
    said = run(options(tmp_path, source=source, file=tmp_path / "a.pth", recipe=None))
    assert f"used: {len(theirs)}\nmissing: none\nunexpected: none\n" in said
    assert "dropped: fc.weight, fc.bias\n" in said
    config = json.loads((tmp_path / "converted" / "config.json").read_text())
    assert (config["backbone"], config["stem"]) == (backbone.name, backbone.stem)
    features = build(backbone)
    load_weights(features, backbone, tmp_path / "converted" / "model.safetensors")
    assert all(torch.equal(value, theirs[key]) for key, value in features.body.state_dict().items())


def drawn(features: Features) -> dict[str, Tensor]:
    return weights({key: tuple(value.shape) for key, value in features.body.state_dict().items()})


@pytest.mark.slow
def test_the_nearest_backbone_is_the_one_that_shares_most(tmp_path: Path) -> None:
    """A large network with a few other names, which differs from a small one in fewer."""
    theirs = drawn(build(Backbone("resnet34", output_stride=32)))
    kept = {name if "conv" in name and "layer" in name else f"own.{name}": value for name, value in theirs.items()}
    save_file(kept, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="nearest is resnet34 with the plain stem, with which it shares 32 of its "):
        run(options(tmp_path, source="timm", file=tmp_path / "a.safetensors", recipe=None))


@pytest.mark.slow
def test_another_backbone_is_refused_with_what_differs_from_the_nearest(tmp_path: Path) -> None:
    theirs: dict[str, Tensor] = drawn(build(TINY))
    theirs["surplus.weight"] = torch.ones(2)
    save_file(theirs, tmp_path / "a.safetensors")
    with pytest.raises(
        ValueError,
        match="nearest is resnet10_tiny with the plain stem, with which it shares 70 of its 71 .*surpl",
    ):
        run(options(tmp_path, source="timm", file=tmp_path / "a.safetensors", recipe=None))
    assert not (tmp_path / "converted").exists()
