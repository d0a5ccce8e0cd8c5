"""What data sets built on PASCAL VOC share: the folders of a year, lists of names, and the rule of the colours."""

from pathlib import Path

from core.images.classes import Colour


def palette(count: int) -> tuple[Colour, ...]:
    """The colours of VOC for the labels 0 to count - 1.

    The bits of a label are dealt to red, green and blue in turn, the lowest first, and fill each from its highest bit
    down: 1 is (128, 0, 0), 2 is (0, 128, 0), 8 is (64, 0, 0).
    """

    def channel(label: int, first: int) -> int:
        return sum((label >> (3 * place + first) & 1) << (7 - place) for place in range(8))

    return tuple((channel(label, 0), channel(label, 1), channel(label, 2)) for label in range(count))


def year_folder(folder: Path, year: str, needed: str, source: str) -> Path:
    """Find the folder of a year, with `needed` in it, from that folder, VOCdevkit, or the folder above.

    Raises:
        ValueError: if none of them has it.
    """
    roots = (folder, folder / year, folder / "VOCdevkit" / year)
    for root in roots:
        if (root / needed).is_dir():
            return root
    raise ValueError(
        f"there is no folder {roots[-1] / needed} nor {roots[1] / needed} nor {roots[0] / needed}; {source}"
    )


def names_in(listing: Path, source: str) -> list[str]:
    """The names in a list: of each line the first word, without folder and ending.

    Raises:
        ValueError: if there is no such list or it is empty.
    """
    lines = listing.read_text(encoding="utf-8").splitlines() if listing.is_file() else []
    names = [Path(line.split()[0]).stem for line in lines if line.strip()]
    if not names:
        raise ValueError(f"the list {listing} is missing or empty; {source}")
    return names
