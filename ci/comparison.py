"""One line for each number that the papers print of parameters, multiply-adds and memory: is it ours, and if not, why.

What is counted is counted when it is printed; the status follows from it and is nobody's opinion:

matches             ours, rounded to the printed digits, is the printed number
close               within 0.5 % of it
cannot be matched   farther; the reason says what else was tried
not tried           nothing was counted; the reason says why
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

from ci.cited import NETWORKS
from ci.columns import OVERHEADS, PRINTED, UNITS, Column, Printed
from ci.counting import SIZE, Complexity, complexity
from ci.overheads import (
    COUNTINGS,
    OTHERS,
    RANET,
    REPRESENTATIVES,
    SIDE,
    TABLES,
    Overhead,
    readings,
    representatives_for,
    rows_met,
)
from ci.readings import ROWS, SANET_BUDGET, SANET_SIZE, SANET_TEXT, backbone_of_sanet, of_sanet, ours, sanet
from papers.sanet.model import Architecture as SANetArchitecture

CLOSE = 0.005

Status = Literal["matches", "close", "cannot be matched", "not tried"]


@dataclass(frozen=True)
class Line:
    """A printed number beside ours, in the unit of its column; `how` ours was counted, and what must be known of it."""

    printed: Printed
    ours: float | None
    how: str
    reason: str

    @property
    def status(self) -> Status:
        """What follows from both numbers."""
        if self.ours is None:
            return "not tried"
        if self.printed.is_met_by(self.ours):
            return "matches"
        return "close" if abs(self.printed.deviation(self.ours)) <= CLOSE else "cannot be matched"

    def cells(self) -> tuple[str, ...]:
        """The columns of the table that `python -m ci.complexity` prints."""
        number, unit = self.printed, UNITS[self.printed.column]
        counted = ("-", "-") if self.ours is None else (f"{self.ours:.3f}", f"{number.deviation(self.ours):+.2%}")
        place = (number.paper, number.table, number.row, number.column, f"{number.text} {unit}")
        return (*place, *counted, self.status, f"{self.how}: {self.reason}" if self.how else self.reason)


HEADINGS = ("paper", "table", "row", "column", "printed", "ours", "deviation", "status", "how: reason")


def lines() -> Iterator[Line]:
    """A line for each printed number, in the order of the tables."""
    for number in PRINTED.values():
        if (number.paper, number.table) == OVERHEADS:
            yield _of_overheads(number)
        else:
            yield _of_dfdam(number) if number.paper == "DF-DAM" else _of_sanet(number)


def table() -> Iterator[str]:
    """The lines in aligned columns, and below them what was tried on RANet's table as a whole."""
    cells = [HEADINGS, *(line.cells() for line in lines())]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        yield "  ".join(map(str.ljust, line, widths)).rstrip()
    yield verdict()


def verdict() -> str:
    """What every convention of counting together does to RANet's table."""
    met = [rows_met(counting) for counting in COUNTINGS]
    others = sorted({row for rows in met for row in rows} - {"RANet"})
    return (
        f"RANet, Table 3: {len(COUNTINGS)} conventions were tried, products counted or not, one or two operations for "
        "a multiply-add, decimal or binary units, rounded or cut. In both numbers a convention meets at most "
        f"{max(map(len, met))} of the five rows; of the four others: {', '.join(others) or 'none'}; RANet's under "
        f"{sum('RANet' in rows for rows in met)} of them, if the number of representatives is chosen for it."
    )


def _part(counted: Complexity | Overhead, column: Column) -> float:
    return counted.parameters if column == "parameters" else counted.multiply_adds


@cache
def _cited(row: str, classes: int) -> Complexity:
    return complexity(lambda: NETWORKS[row](classes))


def _of_dfdam(number: Printed) -> Line:
    how = f"thop at {SIZE[0]} x {SIZE[1]}"
    (own,) = [row for row in ROWS if row.table == number.table]
    if number.row in NETWORKS:
        counted = _cited(number.row, own.classes)
        return Line(number, _part(counted, number.column), how, "its layers are public")
    if not number.row.startswith("Ours"):
        return Line(
            number, None, "", "a network of others that no recipe needs; the three that are counted settle the rules"
        )
    text = _part(ours(own, "text"), number.column)
    reason = f'the form "budget"; "text", that of the row, has {text:.3f} ({number.deviation(text):+.2%})'
    return Line(number, _part(ours(own, "budget"), number.column), how, reason)


def _of_sanet(number: Printed) -> Line:
    how = f"ptflops at {SANET_SIZE[0]} x {SANET_SIZE[1]}"
    if number.row == "Dilated FCN":
        whole = _part(of_sanet(SANetArchitecture(head="fcn")), number.column)
        reason = f"the backbone alone; with the classifier of the row {whole:.3f} ({number.deviation(whole):+.2%})"
        return Line(number, _part(backbone_of_sanet(), number.column), how, reason)
    if number.row.startswith("Deeplab"):
        counted = of_sanet(SANetArchitecture(head="deeplab-v3+"))
        return Line(number, _part(counted, number.column), how, "the network of the row")
    if number.row == "SDN":
        return Line(number, None, "", "quoted from another paper, whose network no recipe needs")
    text, budget = ("-".join(map(str, reading)) for reading in (SANET_TEXT, SANET_BUDGET))
    other = _part(sanet(SANET_BUDGET), number.column)
    reason = (
        f"downsampling {text}, the text's; {budget}, which is not, has {other:.3f} ({number.deviation(other):+.2%})"
    )
    return Line(number, _part(sanet(SANET_TEXT), number.column), how, reason)


def _of_overheads(number: Printed) -> Line:
    tried = readings(number.row)
    name, *others = tried
    if number.column == "memory":
        return Line(number, tried[name].memory, "a lower bound", _why_no_memory(number))
    reason = "; ".join(f"{other} {_part(tried[other], number.column):.2f}" for other in others)
    if number.row == "DANet":
        megas, gigas = tried[name].parameters * 1e6 / 2**20, tried[name].multiply_adds * 1e9 / 2**30
        reason += f"; in binary units {megas if number.column == 'parameters' else gigas:.2f}"
    if number.row == "RANet":
        reason += f"; each with {REPRESENTATIVES} representatives, those of the text"
        if number.column == "multiply-adds":
            needed = (f"{reading} {representatives_for(number.value, reading)}" for reading in RANET)
            reason += f", where {number.text} need: {', '.join(needed)}"
    return Line(number, _part(tried[name], number.column), f"{SIDE} x {SIDE}, {name}", reason)


def _why_no_memory(number: Printed) -> str:
    """Beside the bound of each row the printed number is another multiple: no allocator's constant explains them."""
    multiples = {
        row: PRINTED[(*OVERHEADS, row, "memory")].value / next(iter(readings(row).values())).memory
        for row in (*OTHERS, "RANet")
    }
    whose = (
        f"{TABLES} tables of all pairs, which the released code makes, and" if number.row == "RANet" else "scores and"
    )
    return (
        f"{whose} what convolutions return, in float32; printed is {multiples[number.row]:.2f} times that, and from "
        f"{min(multiples.values()):.2f} to {max(multiples.values()):.2f} times in the five rows: no factor relates "
        "them, and what the allocator of its day held besides is not said"
    )
