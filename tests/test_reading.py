"""Pictures of every kind: each is read by a stated rule, or refused by name."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from core.datasets import find, read, refuse_too_few_classes, refuse_wrong_labels
from core.datasets.cache import Pixels
from core.datasets.check import inspect
from core.datasets.samples import Pair
from core.images.reading import ORIENTATION, TURNS, Embedded, header, open_rgb, read_image, read_labels, upright_rgb
from core.networks.prediction import pixels_of

SHOWN = np.arange(4 * 6, dtype=np.uint8).reshape(4, 6) * 10
INVERSE = {**{turn: turn for turn in range(2, 9)}, 6: 8, 8: 6}


def stored(orientation: int) -> np.ndarray:
    """What a camera stores so that `SHOWN` is shown."""
    turn = TURNS.get(INVERSE.get(orientation, 1))
    picture = Image.fromarray(SHOWN)
    return np.asarray(picture if turn is None else picture.transpose(turn))


def save(path: Path, values: np.ndarray, orientation: int = 1, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(values).save(path, exif=exif, **options)
    return path


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_orientations_are_turned_everywhere(ending: str, orientation: int, tmp_path: Path) -> None:
    options = {"jpg": {"quality": 100}, "webp": {"lossless": True}}.get(ending, {})
    path = save(tmp_path / f"a.{ending}", stored(orientation), orientation, **options)
    expected = SHOWN[..., None].repeat(3, axis=2).astype(int)
    embedded = Embedded(path.read_bytes(), "row 0")
    for pixels in (
        read_image(path),
        read_image(embedded),
        np.asarray(open_rgb(path)),
        pixels_of(path).permute(1, 2, 0).numpy(),
        pixels_of(Image.open(path)).permute(1, 2, 0).numpy(),
    ):
        assert pixels.shape == (4, 6, 3)
        assert np.abs(pixels.astype(int) - expected).max() <= (8 if ending == "jpg" else 0)
    assert header(path)[:2] == header(embedded)[:2] == (6, 4)


def test_labels_are_compared_with_the_image_as_shown(tmp_path: Path) -> None:
    labels = SHOWN // 10 % 3
    for name, values in (("shown", labels), ("stored", np.rot90(labels).copy())):
        root = tmp_path / name
        for split in ("train", "val"):
            save(root / split / "images" / "a.jpg", stored(6), 6)
            save(root / split / "labels" / "a.png", values)
        (root / "classes.txt").write_text("a\nb\nc\n")
    report = inspect(find("folder"), tmp_path / "shown", processes=0, quiet=True)
    assert report.ready
    image, found = Pixels(read("folder", tmp_path / "shown", "val")).pair(0)
    assert image.shape[:2] == found.shape == (4, 6)
    with pytest.raises(ValueError, match=r"a\.png is 4 x 6 pixels but its image .*a\.jpg is 6 x 4.*EXIF orientation"):
        refuse_wrong_labels(read("folder", tmp_path / "stored", "val"), quiet=True)


def test_turned_labels_are_turned(tmp_path: Path) -> None:
    assert np.array_equal(read_labels(save(tmp_path / "a.png", stored(5), 5)), SHOWN)


def exif(*entries: bytes) -> bytes:
    body = struct.pack("<H", len(entries)) + b"".join(entries) + struct.pack("<I", 0)
    return b"Exif\0\0II*\0\x08\0\0\0" + body


@pytest.mark.parametrize(
    "block",
    [
        exif(struct.pack("<HHI4s", ORIENTATION, 2, 4, b"6\0\0\0")),
        exif(struct.pack("<HHII", ORIENTATION, 3, 1, 99)),
        exif(struct.pack("<HHII", ORIENTATION, 3, 1, 0)),
        exif(struct.pack("<HHII", ORIENTATION, 3, 0xFFFFFFFF, 6)),
        exif(struct.pack("<HHII", 0x010F, 2, 400, 5000)),
        b"Exif\0\0garbage garbage garbage",
        b"Exif\0\0MM",
    ],
)
@pytest.mark.filterwarnings("ignore:Tag data larger:UserWarning", "ignore:Truncated File Read:UserWarning")
def test_a_damaged_orientation_leaves_the_pixels_as_they_are(block: bytes) -> None:
    stream = io.BytesIO()
    Image.fromarray(SHOWN).save(stream, "JPEG", exif=block)
    source = Embedded(stream.getvalue(), "row 0")
    assert read_image(source).shape == (4, 6, 3)
    assert header(source)[:2] == (6, 4)


SIXTEEN = SHOWN.astype(np.uint16) * 257 + 100  # what lies beyond 8 bits is rounded


@pytest.mark.parametrize(
    ("values", "ending"), [(SIXTEEN, "png"), (SIXTEEN, "tif"), (SIXTEEN.astype(">u2"), "tif"), (SIXTEEN, "pgm")]
)
def test_images_of_16_bits_keep_their_levels(values: np.ndarray, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{ending}"
    Image.fromarray(values).save(path)
    assert np.array_equal(read_image(path), SHOWN[..., None].repeat(3, axis=2))
    assert np.array_equal(pixels_of(path).permute(1, 2, 0).numpy(), read_image(path))
    assert np.array_equal(np.asarray(upright_rgb(Image.open(path))), read_image(path))


def test_white_is_zero_where_a_file_says_so(tmp_path: Path) -> None:
    values = np.array([[0, 257 * 40], [257 * 200, 65535]], np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="miniswhite")
    assert read_image(tmp_path / "a.tif")[..., 0].tolist() == [[255, 215], [55, 0]]


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_images_without_a_known_white_are_refused(kind: type, tmp_path: Path) -> None:
    Image.fromarray(SHOWN.astype(kind)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=r"a\.tif has values of 32 bits, from 0.* to 230.*convert it to 8 bits"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "CMYK", "P", "1"])
def test_other_modes_become_rgb_and_transparent_pixels_keep_their_colour(mode: str, tmp_path: Path) -> None:
    picture = Image.fromarray(SHOWN).point(lambda value: 255 * (value > 100)).convert("RGB").convert(mode)
    if mode in ("LA", "RGBA"):
        picture.putalpha(0)
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    picture.save(path, **({"transparency": bytes([0, 128])} if mode == "P" else {}))
    assert np.array_equal(read_image(path), 255 * (SHOWN[..., None] > 100).repeat(3, axis=2).astype(np.uint8))
    assert header(path).transparent == (mode in ("LA", "RGBA", "P"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
        (b"hello", "its format is none of those"),
    ],
)
def test_what_is_no_image_is_named(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(content)
    for function in (read_image, header, read_labels):
        with pytest.raises(ValueError, match=rf"a\.png can't be read as an image: .*{words}"):
            function(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "b.png")
    with pytest.raises(ValueError, match=r"b\.png is a link that leads nowhere"):
        read_image(tmp_path / "b.png")
    with pytest.raises(ValueError, match="is a folder; give one of the files in it"):
        read_image(tmp_path)
    with pytest.raises(ValueError, match="https://example.org/a.png is an address, which is not read; download"):
        read_image(Path("https://example.org/a.png"))


def test_a_cut_image_is_named(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    path = save(tmp_path / "a.png", noise)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(ValueError, match=r"a\.png is damaged"):
        read_image(path)


def test_images_with_too_many_pixels_are_named_and_the_others_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path)
    save(folder / "train" / "images" / "large.png", np.zeros((50, 50), np.uint8))
    save(folder / "train" / "labels" / "large.png", np.zeros((50, 50), np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    report = inspect(find("folder"), folder, processes=0, quiet=True)
    assert [problem.sentence for problem in report.splits["train"].problems.values()] == [
        f"{folder / 'train' / 'images' / 'large.png'} has too many pixels (Image size (2500 pixels) exceeds limit of "
        "2000 pixels, could be decompression bomb DOS attack.); cut it into tiles, or set the environment variable "
        "MAX_IMAGE_PIXELS to the number of pixels that you allow"
    ]
    assert report.splits["train"].sizes == {(6, 4)}


# Labels


@pytest.mark.parametrize("ending", ["jpg", "jp2"])
def test_lossy_labels_are_refused(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{ending}"
    Image.fromarray(SHOWN).save(path)
    with pytest.raises(ValueError, match=rf"a\.{ending} is a JPEG.*compression changes class indices.*PNG"):
        read_labels(path)


def test_labels_compressed_as_jpeg_in_a_tiff_are_refused(tmp_path: Path) -> None:
    Image.fromarray(SHOWN).save(tmp_path / "a.tif", compression="jpeg")
    with pytest.raises(ValueError, match=r"a\.tif is a TIFF with JPEG inside, whose compression changes class indices"):
        read_labels(tmp_path / "a.tif")


def test_labels_of_other_kinds(tmp_path: Path) -> None:
    for number, values in enumerate((SHOWN, SHOWN.astype(np.int32), SHOWN.astype(">u2"), SHOWN.astype(np.float32))):
        Image.fromarray(values).save(tmp_path / f"{number}.tif")
        found = read_labels(tmp_path / f"{number}.tif")
        assert found.dtype.kind in "ui"
        assert np.array_equal(found, SHOWN)
    for name, values, words in (
        ("half.tif", np.full((2, 2), 0.5, np.float32), "no whole numbers"),
        ("nan.tif", np.full((2, 2), np.nan, np.float32), "no whole numbers"),
        ("grey.png", SHOWN[..., None].repeat(3, axis=2), "all three are equal: save one of them"),
        ("colours.png", np.dstack([SHOWN, SHOWN, 255 - SHOWN]), "convert colours to indices first"),
    ):
        Image.fromarray(values).save(tmp_path / name)
        with pytest.raises(ValueError, match=f"{name}.*{words}"):
            read_labels(tmp_path / name)
    frames = [Image.fromarray(SHOWN), Image.fromarray(SHOWN[::-1].copy())]
    frames[0].save(tmp_path / "pages.tif", save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match=r"pages\.tif has 2 frames"):
        read_labels(tmp_path / "pages.tif")


# Folders


def write(root: Path, values: np.ndarray = SHOWN // 10 % 2) -> Path:
    for split in ("train", "val"):
        for name in ("a", "b"):
            save(root / split / "images" / f"{name}.png", SHOWN)
            save(root / split / "labels" / f"{name}.png", values)
    (root / "classes.txt").write_text("land\nwater\n")
    return root


def report(root: Path) -> str:
    return inspect(find("folder"), root, processes=0, quiet=True).text()


def test_masks_of_0_and_255_are_not_ready(tmp_path: Path) -> None:
    text = report(write(tmp_path, np.where(SHOWN > 100, 255, 0).astype(np.uint8)))
    assert "train: the labels hold the class 0 besides 255, which is ignored here; if they are masks" in text
    assert "val: the labels hold the class 0" in text
    assert text.endswith("not ready: 2 things missing")


def test_splits_without_classes_are_refused_before_training(tmp_path: Path) -> None:
    root = write(tmp_path)
    seen = refuse_wrong_labels(read("folder", root, "train"), quiet=True)
    assert seen.tolist() == [True, True]
    refuse_too_few_classes("train", seen, least=2)
    with pytest.raises(ValueError, match="train: the labels hold the class 1 besides 255"):
        refuse_too_few_classes("train", np.array([False, True]), least=2)
    with pytest.raises(ValueError, match="val: the labels hold no class at all"):
        refuse_too_few_classes("val", np.array([False, False]), least=1)
    for name in ("a", "b"):
        save(root / "val" / "labels" / f"{name}.png", np.full((4, 6), 255, np.uint8))
    assert not refuse_wrong_labels(read("folder", root, "val"), quiet=True).any()
    assert "val: the labels hold no class at all" in report(root)


def test_two_images_of_one_name_are_named(tmp_path: Path) -> None:
    root = write(tmp_path)
    save(root / "train" / "images" / "a.jpg", SHOWN)
    with pytest.raises(ValueError, match=r"a\.jpg and .*a\.png have one name, 'a'"):
        read("folder", root, "train")


def test_names_pair_up_in_any_form_of_unicode(tmp_path: Path) -> None:
    root = write(tmp_path)
    (root / "train" / "images" / "a.png").rename(root / "train" / "images" / "e\u0301.png")
    (root / "train" / "labels" / "a.png").rename(root / "train" / "labels" / "\u00e9.png")
    assert len(read("folder", root, "train")) == 2


def test_other_files_are_left_out_and_listed(tmp_path: Path) -> None:
    root = write(tmp_path)
    for name in ("._a.png", "Thumbs.db", ".DS_Store", "notes.txt"):
        (root / "train" / "images" / name).write_bytes(b"")
    text = report(root)
    assert text.endswith("ready")
    assert "4 files are no images by their names, and left out" in text
    assert "Thumbs.db" in text


def test_links_that_lead_nowhere_are_named(tmp_path: Path) -> None:
    root = write(tmp_path)
    for part in ("images", "labels"):
        (root / "train" / part / "a.png").unlink()
        (root / "train" / part / "a.png").symlink_to("/nowhere/a.png")
    assert "a.png is a link that leads nowhere (/nowhere/a.png)" in report(root)


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("\ufeffland\r\nwater\r\n".encode(), ("land", "water")),
        ("\ufeff0 land 1 2 3\n1 water 4 5 6\n".encode(), ("land", "water")),
        ("\ufeff255 void\n0 land\n1 water\n".encode(), ("land", "water")),
        ("land\nwater\n".encode("utf-16"), ("land", "water")),
        (b"# the classes\n0\tland\n1\twater\n", ("land", "water")),
    ],
)
def test_class_lists_in_several_forms(content: bytes, names: tuple[str, ...], tmp_path: Path) -> None:
    root = write(tmp_path)
    (root / "classes.txt").write_bytes(content)
    assert read("folder", root, "val").classes.names == names


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("land\nstraße\n".encode("latin-1"), "line 2 of .*classes.txt is not UTF-8"),
        (b"0 land 1 2 3\n1 water 4 5 256\n", r"classes.txt: red, green and blue of a colour are 0 to 255, got \(4, 5"),
        (b"land\nland\n", "classes.txt: class names must differ"),
        (b"1: water\n0: land\n", "line 1 of .*classes.txt is '1: water'; expected 'name' or 'index name"),
        (b'{"0": "land"}', 'line 1 of .*classes.txt is \'{"0": "land"}\'; expected'),
        (b"land\x00\nwater\n", "line 1 of .*expected 'name'"),
    ],
)
def test_class_lists_that_are_refused(content: bytes, words: str, tmp_path: Path) -> None:
    root = write(tmp_path)
    (root / "classes.txt").write_bytes(content)
    with pytest.raises(ValueError, match=words):
        read("folder", root, "val")


def test_check_says_what_is_wrong_in_few_words(tmp_path: Path) -> None:
    root = write(tmp_path / "data", SHOWN // 10 % 3)
    text = report(root)
    assert text.count("wrong: ") == 2  # one line for each split
    assert "the list of classes has 2 names, the labels need 3: 2 files hold such values" in text
    assert "train: 2 images, none of them right" in text
    with pytest.raises(ValueError, match=rf"no class list .*Did you mean {root}\?"):
        read("folder", tmp_path, "train")
    with pytest.raises(ValueError, match=rf"Did you mean {root}\?"):
        read("folder", root / "train", "train")


def test_a_folder_without_val_is_not_ready(tmp_path: Path) -> None:
    root = write(tmp_path)
    (root / "val").rename(root / "test")
    assert "missing: val: there is no folder" in report(root)


# While a run goes on


def test_labels_that_change_under_a_run_are_refused(tmp_path: Path) -> None:
    root = write(tmp_path)
    pixels = Pixels(read("folder", root, "train"))
    pixels.pair(0)
    save(root / "train" / "labels" / "a.png", SHOWN // 10 % 3)
    with pytest.raises(ValueError, match=r"a\.png holds the value 2; allowed are 0\.\.1, 255"):
        pixels.pair(0)
    save(root / "train" / "labels" / "a.png", np.zeros((4, 5), np.uint8))
    with pytest.raises(ValueError, match=r"a\.png is 5 x 4 pixels but its image .*a\.png is 6 x 4"):
        pixels.pair(0)


@pytest.mark.parametrize("damage", ["cut", "zeros", "foreign"])
def test_a_damaged_cache_is_made_again_and_says_so(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pairs = read("folder", write(tmp_path / "data"), "train")
    save(tmp_path / "data" / "train" / "images" / "b.png", SHOWN + 1)
    Pixels(pairs, tmp_path / "cache").fill(quiet=True)
    expected = Pixels(pairs).image(0)
    files = {path: path.read_bytes() for path in (tmp_path / "cache").rglob("*.npy")}
    sizes = sorted(files, key=lambda path: len(files[path]))[-2:]  # the two images
    for path, other in zip(sizes, sizes[::-1], strict=True):
        content = files[path]
        damaged = {"cut": content[:-50], "zeros": content[:-54] + bytes(50) + content[-4:], "foreign": files[other]}
        path.write_bytes(damaged[damage])
    again = Pixels(pairs, tmp_path / "cache")
    assert np.array_equal(again.image(0), expected)
    assert "is damaged or of another image; it is made again" in caplog.text
    assert sum(path.read_bytes() == files[path] for path in sizes) == 1


def test_a_row_without_labels_is_named() -> None:
    pairs = read("scenes", None, "val")
    bare = Pair(pairs.rows[0].image)
    with pytest.raises(ValueError, match=r"val/000000\.png has no labels"):
        Pixels(type(pairs)([bare], pairs.classes, pairs.mapping)).pair(0)
