"""What a label means: the names and the colours of the classes of a data set."""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

IGNORE = 255
"""The label of a pixel that is neither trained on nor counted, everywhere."""

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Classes:
    """The classes of a data set, in the order of their labels 0, 1, 2, ...

    Raises:
        ValueError: if there are no classes, more than 255, repeated names, not one colour for each name, or a
            colour that is not 0 to 255.
    """

    names: tuple[str, ...]
    palette: tuple[Colour, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.names) <= IGNORE:
            raise ValueError(
                f"a data set has 1 to {IGNORE} classes, got {len(self.names)}; labels are 8 bits, 255 ignored"
            )
        repeated = sorted({name for name in self.names if self.names.count(name) > 1})
        if repeated:
            raise ValueError(
                f"class names must differ, got more than one {', '.join(map(repr, repeated))}; rename them"
            )
        if len(self.palette) != len(self.names):
            raise ValueError(f"{len(self.names)} classes need as many colours, got {len(self.palette)}")
        strange = [colour for colour in self.palette if not all(0 <= part <= 255 for part in colour)]
        if strange:
            raise ValueError(f"red, green and blue of a colour are 0 to 255, got {strange[0]}")

    def __len__(self) -> int:
        return len(self.names)

    def first_other(self, names: Sequence[str]) -> int | None:
        """The label of the first class that has another name among `names`; None if all that both have are the same."""
        pairs = enumerate(zip(self.names, names, strict=False))
        return next((label for label, (one, other) in pairs if one != other), None)

    @classmethod
    def coloured(cls, names: Sequence[str]) -> "Classes":
        """Give colours to names that have none: evenly spread hues at three brightnesses."""
        hues = [colorsys.hsv_to_rgb(i * 0.618 % 1, 0.65, (0.95, 0.7, 0.5)[i % 3]) for i in range(len(names))]
        return cls(tuple(names), tuple((round(255 * r), round(255 * g), round(255 * b)) for r, g, b in hues))
