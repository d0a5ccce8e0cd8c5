"""What three papers print of parameters, multiply-adds and memory: each number of these columns, and nowhere else.

DF-DAM, Tables 4 and 6: "Params" and "GFLOPs". RANet, Table 3: what a block adds to a backbone. SANet, Table 6: "Params"
and "MACs".
"""

from dataclasses import dataclass
from typing import Literal

from ci.counting import Complexity

Column = Literal["parameters", "multiply-adds", "memory"]
COLUMNS: tuple[Column, ...] = ("parameters", "multiply-adds", "memory")

UNITS: dict[Column, str] = {"parameters": "M", "multiply-adds": "G", "memory": "MB"}
"""1e6, 1e9 and 1e6 bytes."""

OVERHEADS = ("RANet", "Table 3")
"""The table that prints what a block adds, not what a network has."""


@dataclass(frozen=True)
class Printed:
    """A number as a paper prints it; `text` keeps its digits."""

    paper: str
    table: str
    row: str
    column: Column
    text: str

    @property
    def value(self) -> float:
        """The number, in the unit of its column."""
        return float(self.text)

    def is_met_by(self, ours: float) -> bool:
        """Whether a number, rounded to the printed digits, is this one."""
        decimals = len(self.text.partition(".")[2])
        return f"{ours:.{decimals}f}" == self.text

    def deviation(self, ours: float) -> float:
        """By how much a number differs from this one, as a fraction."""
        return ours / self.value - 1


_TABLES: dict[tuple[str, str], dict[str, tuple[str | None, ...]]] = {
    ("DF-DAM", "Table 4"): {
        "FCN-8s-heavy": ("134.46", "188.93"),
        "Dilation10": ("134.35", "134.33"),
        "DeepLab(Res101)": ("43.90", "148.73"),
        "RefineNet(Res101)": ("118.01", "659.14"),
        "DUC(Res101)": ("148.04", "95.87"),
        "PSPNet(Res101)": ("75.04", "230.01"),
        "Ours(ResNet18)": ("11.57", "10.31"),
    },
    ("DF-DAM", "Table 6"): {
        "FCN-8s-heavy": ("134.49", "195.03"),
        "DeepLab(Res101)": ("44.05", "149.22"),
        "RefineNet(Res101)": ("118.01", "659.24"),
        "DUC(Res152)": ("163.68", "111.30"),
        "PSPNet(Res101)": ("75.05", "230.02"),
        "Ours(ResNet101)": ("43.24", "35.52"),
    },
    OVERHEADS: {
        "Asymmetric NL": ("13", "163", "634"),
        "CCNet": ("18", "198", "730"),
        "DANet": ("23", "264", "2611"),
        "PSANet": ("50", "372", "3124"),
        "RANet": ("21", "212", "1893"),
    },
    ("SANet", "Table 6"): {
        "Dilated FCN": ("42.6", "162.7"),
        "SDN": ("238.5", None),
        "Deeplab V3+ (our implementation)": ("59.5", "235.6"),
        "SANet (ours)": ("55.5", "204.7"),
    },
}
"""In the order of `COLUMNS`; rows that the recipes report too have the same name there."""

PRINTED: dict[tuple[str, str, str, Column], Printed] = {
    (paper, table, row, column): Printed(paper, table, row, column, text)
    for (paper, table), rows in _TABLES.items()
    for row, texts in rows.items()
    for column, text in zip(COLUMNS, texts, strict=False)
    if text is not None
}
"""By paper, table, row and column, in the order of the tables."""


WHOLE: dict[tuple[str, str, str], Complexity] = {
    (paper, table, row): Complexity(float(texts[0]), float(texts[1]))
    for (paper, table), rows in _TABLES.items()
    for row, texts in rows.items()
    if (paper, table) != OVERHEADS and texts[0] is not None and texts[1] is not None
}
"""What a row prints of a whole network, if both its parameters and its multiply-adds: by paper, table and row."""
