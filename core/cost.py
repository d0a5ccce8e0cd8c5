"""What training a recipe takes of a GPU, as `python -m ci.costs` has counted it into papers/PAPER/costs.json.

Counted is what lies in memory when the backward pass begins: weights, their gradients and momentum, and what autograd
keeps of each image.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

CARDS = (8, 12, 16, 24, 32, 40, 48, 80, 141)
"""Sizes of GPUs, in GiB."""

SPARE = 1.15
"""What a card should have for each byte that is counted."""

CONTEXT = 0.7
"""GiB that CUDA itself takes, about."""


@dataclass(frozen=True)
class Cost:
    """GiB of GPU memory that a training takes, in float32 and with bf16, on each GPU and for each image on it.

    `hours` are those of an H200 with bf16, where its images a second were measured.
    """

    fixed: float
    image: float
    fixed_bf16: float
    image_bf16: float
    hours: float | None = None

    def memory(self, images: int, bf16: bool = False) -> float:
        """GiB on a GPU that trains so many images at a time."""
        return self.fixed_bf16 + images * self.image_bf16 if bf16 else self.fixed + images * self.image

    def gpus(self, batch: int) -> list[tuple[int, int]]:
        """Numbers of GPUs, and the smallest size in GiB that then holds a batch in float32; fewer GPUs first."""
        found: list[tuple[int, int]] = []
        for number in (1, 2, 4, 8):
            needed = SPARE * self.memory(batch // number) + CONTEXT
            card = next((card for card in CARDS if card >= needed), None)
            if batch % number == 0 and card is not None and (not found or card < found[-1][1]):
                found.append((number, card))
        return found

    def words(self, batch: int) -> str:
        """The memory of a batch on one GPU, which GPUs fit it, and the hours of a training where they are known."""
        fit = ", ".join(f"{number} x {card}" for number, card in self.gpus(batch)) or "more than 8 GPUs"
        hours = "" if self.hours is None else f"; {self.hours:g} h on one H200 with bf16"
        return f"{self.memory(batch):.1f} GiB, with bf16 {self.memory(batch, bf16=True):.1f}; fits {fit} GiB{hours}"


def read(file: Path) -> dict[str, Cost]:
    """The costs by recipe; none if there is no such file."""
    if not file.is_file():
        return {}
    return {name: Cost(**values) for name, values in json.loads(file.read_text(encoding="utf-8")).items()}


def to_json(costs: Mapping[str, Cost]) -> str:
    """The file that `read` reads, a line for each recipe."""
    lines = [
        f"{json.dumps(name)}: {json.dumps({key: value for key, value in vars(cost).items() if value is not None})}"
        for name, cost in costs.items()
    ]
    return "{\n" + ",\n".join(lines) + "\n}\n"
