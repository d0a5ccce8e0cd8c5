"""Figure 5 of RANet: the regions and representatives that are drawn are those of the network."""

import sys
from pathlib import Path

import pytest
import torch
from commands import refused
from PIL import Image
from test_ranet import TINY, VARIANTS, drawn

from core.datasets.sets import scenes
from core.figures import open_photo
from core.images.classes import Classes
from core.images.painting import numbered
from core.images.pixels import as_tested, to_tensor
from core.networks.network import About
from core.recipe import Protocol
from core.training import checkpoint
from core.values import to_json
from papers.ranet import figures
from papers.ranet.attention import attention, exchange, find
from papers.ranet.interaction import Others, RegionInteraction, collect, interact
from papers.ranet.model import Architecture, RANet
from papers.ranet.recipes import DEMO, RECIPES

HEIGHT, WIDTH = 72, 104


def picture_of_a_scene() -> Image.Image:
    pixels, _ = scenes.draw(2, 0, height=HEIGHT, width=WIDTH)
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with weights that make several regions, and a state of step 7 below `early`."""
    folder = tmp_path_factory.mktemp("run")
    network = drawn(RANet(10, VARIANTS["paper"])).float()
    network.about = About(Classes.coloured([f"class {label}" for label in range(10)]), Protocol(base=WIDTH, flip=True))
    network.save_pretrained(folder)
    (folder / "early").mkdir()
    state = {"network": network.state_dict(), "recipe": to_json(RECIPES[DEMO]), "step": 7}
    checkpoint.save_state(folder / "early" / "state.pt", state)
    return folder


@pytest.mark.slow
@torch.no_grad()
def test_what_is_drawn_is_what_the_network_finds(folder: Path) -> None:
    network, name, protocol = figures.load(str(folder))
    assert (name, protocol) == (str(folder), network.about.protocol)
    picture = picture_of_a_scene()
    found = find(network, picture)
    analysis = network.analyse(network.normalisation(to_tensor(picture))[None])
    region = found.regions.index[0]
    assert torch.equal(region, analysis.regions.index[0])
    torch.testing.assert_close(found.boundary, analysis.boundary.softmax(1)[0, 1])
    number = int(analysis.regions.number)
    assert number > 2
    J = analysis.regions.J[0]
    rows, columns = found.phi.position[0] // region.shape[1], found.phi.position[0] % region.shape[1]
    for one in range(number):
        mine = region == one
        chosen = mine[rows, columns]
        assert chosen.sum() == min(8, int(mine.sum()))
        scores = J[rows[chosen], columns[chosen]]
        torch.testing.assert_close(scores.sort().values, J[mine].sort().values[-int(chosen.sum()) :])


@torch.no_grad()
def test_a_category_has_its_regions_and_their_representatives_alone(folder: Path) -> None:
    network, _, _ = figures.load(str(folder))
    picture = picture_of_a_scene()
    found = find(network, picture)
    analysis = network.analyse(network.normalisation(to_tensor(picture))[None])
    top, index = analysis.semantic[0].argmax(dim=0), found.regions.index[0]
    category = int(top.flatten().bincount().argmax())
    shown = found.region_map("", category).values
    some = False
    for number in range(int(found.regions.number)):
        mine = index == number
        own = int(top[mine].bincount(minlength=10).argmax()) == category
        some |= own
        assert bool((shown[mine] == (number if own else -1)).all())
    assert some
    dots = found.region_map("", category).dots
    assert 0 < len(dots) < found.phi.position.shape[1]
    assert bool((shown[(dots[:, 1] * 9).long(), (dots[:, 0] * 13).long()] >= 0).all())
    torch.testing.assert_close(found.representative_map().values, analysis.regions.J[0])
    assert figures._number(network, "class 3") == 3
    with pytest.raises(ValueError, match="no category of these weights 'sea', only class 0"):
        figures._number(network, "sea")


@pytest.mark.parametrize("others", ["sum", "mean", "joint"])
@torch.no_grad()
def test_the_weights_of_a_pixel_are_those_of_the_three_equations(folder: Path, others: Others) -> None:
    network, _, _ = figures.load(str(folder))
    found = find(network, picture_of_a_scene())
    A, regions, _, phi, _ = found
    interaction = RegionInteraction(others=others)
    O = interaction(A, regions)  # noqa: E741
    L = collect(A, regions, phi)
    G = interact(L, regions, phi, others=others)
    J, features = regions.J[0].flatten(), A[0].flatten(1)
    J_p = J[phi.position[0]]
    sizes = regions.index[0].flatten().bincount()
    for number in (int(sizes.argmax()), int(sizes.argmin())):
        row, column = (regions.index[0] == number).nonzero()[0].tolist()
        given, collected, received = exchange(interaction, found, row, column)
        assert (given > 0).sum() <= 8
        i = row * A.shape[-1] + column
        torch.testing.assert_close(O[0].flatten(1)[:, i], J[i] * features[:, i] + (J_p * G[0]) @ given)  # Eq. (8)
        torch.testing.assert_close((J_p * L[0]) @ received, (G[0] - J_p * L[0]) @ given)  # Eq. (7)
        first = J_p * features[:, phi.position[0]]
        weights = collected.flatten()
        torch.testing.assert_close((J * features) @ weights, (L[0] - first) @ given)  # Eq. (6)
        assert not weights[regions.index[0].flatten() != number].any()
        assert not received[phi.region[0] == number].any()


@torch.no_grad()
def test_a_point_has_its_region_and_what_its_representatives_exchange(folder: Path) -> None:
    network, _, _ = figures.load(str(folder))
    picture = picture_of_a_scene()
    found = find(network, picture)
    region, collected, received, everything, boundary = attention(network, picture)((100, 3)).panels
    assert torch.equal(region.values.bool(), found.regions.index[0] == found.regions.index[0, 0, 12])
    dots = region.dots
    assert bool(region.values[(dots[:, 1] * 9).long(), (dots[:, 0] * 13).long()].all())
    assert not bool(region.values[(received.dots[:, 1] * 9).long(), (received.dots[:, 0] * 13).long()].any())
    assert float(dots[:, 2].max()) == float(received.dots[:, 2].max()) == 1.0
    assert not collected.values[~region.values.bool()].any()
    assert everything.title == f"all regions: {int(found.regions.number)}"
    assert torch.equal(boundary.values, found.boundary)


def test_what_a_network_does_not_compute_as_printed_is_not_drawn() -> None:
    network = drawn(RANet(10, VARIANTS["released"])).float().eval()
    seen = attention(network, picture_of_a_scene())((5, 5))
    region, *others = seen.panels
    assert region.title.startswith("its region")
    assert len(others) == 2
    assert "not drawn" in seen.sentence


@pytest.mark.slow
def test_a_state_is_drawn_while_its_run_goes_on(folder: Path) -> None:
    for where in ("early", "early/state.pt"):
        network, name, protocol = figures.load(str(folder / where))
        assert (name, protocol) == ("ranet-demo, step 7", RECIPES[DEMO].protocol)
        assert network.classes.names[0] == "road"
        assert not network.training
        assert open_photo(None, network).size == (128, 128)  # of drawings it has learned, so one is drawn
    final, _, _ = figures.load(str(folder))
    for one, other in zip(network.parameters(), final.parameters(), strict=True):
        assert torch.equal(one, other)


def test_pictures_are_brought_to_the_size_of_testing_and_no_larger() -> None:
    large = Image.new("RGB", (2048, 1024))
    assert as_tested(large, Protocol(base=104), None).size == (104, 52)
    assert as_tested(large, Protocol(), None).size == (769, 385)
    assert as_tested(large, Protocol(), 64).size == (64, 32)
    assert as_tested(picture_of_a_scene(), Protocol(), None).size == (WIDTH, HEIGHT)


def test_regions_have_colours_of_their_own() -> None:
    colours = numbered(60)
    assert colours.shape == (60, 3)
    assert len({tuple(colour) for colour in colours.tolist()}) == 60


@pytest.mark.slow
def test_the_command_writes_a_row_for_each_checkpoint(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture_of_a_scene().save(tmp_path / "photo.png")
    heights, loaded, load = [], list[str](), figures.load
    monkeypatch.setattr(figures, "load", lambda where: load(loaded.append(where) or where))
    for number, weights in enumerate(([folder], [folder / "early", folder])):
        words = [word for where in weights for word in ("--weights", str(where))]
        target = str(tmp_path / f"{number}.png")
        monkeypatch.setattr(sys, "argv", ["figures.py", str(tmp_path / "photo.png"), *words, "--to", target])
        figures.main()
        assert loaded == list(map(str, weights))  # and not the bundled network too
        loaded.clear()
        with Image.open(target) as opened:
            heights.append(opened.height)
            assert len(opened.convert("RGB").getcolors(2**24)) > 100
    assert 1.3 * heights[0] < heights[1] < 1.6 * heights[0]  # the image and the legend stand once


def test_a_file_that_is_no_state_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoint.save_state(tmp_path / "other.pt", {"weights": torch.zeros(1)})
    assert "is not the state of a training run" in refused(figures.main, ["--weights", "other.pt"], monkeypatch, capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["other.pt"]


def test_a_baseline_has_nothing_to_draw() -> None:
    with pytest.raises(ValueError, match="no regions"):
        attention(RANet(3, Architecture(TINY, context="spp")).eval(), picture_of_a_scene())
