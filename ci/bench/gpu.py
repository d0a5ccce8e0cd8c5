"""All benchmarks of a GPU in a given time, in order of importance: one JSON, one table with the targets met or not.

    python -m ci.bench gpu --minutes 8 --to gpu.json

Each part runs in a process of its own with a time of its own, so that one that fails or hangs does not end the rest,
and the JSON is written after each.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ci.bench.harness import Line, say, table, where
from core.errors import refuse
from core.files import read_json, write_json

ROOT = Path(__file__).parent.parent.parent
SMALLEST_SECONDS = 10.0  # no part begins with less time left

PARTS: tuple[tuple[str, ...], ...] = (
    ("attention",),
    ("step", "danet-r101-cityscapes", "--precision", "bf16", "--batch", "4", "--compile"),
    ("testing", "--precision", "bf16"),
    ("regions", "--no-compare"),
    ("step", "sanet-b7-pascal-context", "--precision", "bf16", "--batch", "8", "--rounds", "4"),
    ("step", "sanet-b7-pascal-context", "--precision", "fp32", "--batch", "8", "--rounds", "4"),
    ("step", "ranet-r101-cityscapes", "--precision", "bf16", "--batch", "2", "--compile"),
    ("step", "danet-r18-camvid", "--precision", "bf16", "--compile", "--graphs"),
    ("step", "pdanet-r18-ade20k-600", "--precision", "bf16", "--crop", "480", "--compile"),
    ("step", "dfdam-r101-voc2012", "--precision", "bf16", "--batch", "8", "--compile"),
    ("step", "sanet-r101-pascal-context", "--precision", "bf16", "--batch", "8", "--compile"),
    ("step", "danet-r101-cityscapes", "--precision", "fp32", "--batch", "4"),
    ("data", "generated"),
)
"""The words of each part, without the device; `data` measures the processor beside it, and takes none."""

SMALL: tuple[tuple[str, ...], ...] = (
    ("attention", "--positions", "64", "--key", "8", "--value", "16", "--rounds", "1"),
    ("step", "danet-demo", "--crop", "32", "--batch", "2", "--rounds", "1"),
    ("data", "scenes", "--split", "val", "--images", "8", "--rounds", "1", "--epochs", "2"),
    ("step", "no-such-recipe"),
)
"""Parts for a rehearsal on any machine; the last one fails."""


def written(words: Sequence[str], device: str, file: Path) -> list[str]:
    """The words of a part in full: on the device, and with its figures in the file."""
    place = [] if words[0] == "data" else ["--device", device]
    return [*words, *place, "--to", str(file)]


def run(words: Sequence[str], device: str, seconds: float) -> dict[str, Any]:
    """Run one part and return what it wrote, or why it wrote nothing."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "lines.json"
        command = [sys.executable, "-m", "ci.bench", *written(words, device, file)]
        started = time.perf_counter()
        try:
            done = subprocess.run(
                command, cwd=ROOT, capture_output=True, text=True, timeout=max(seconds, 1.0), check=False
            )
            said = [line.strip("│ ") for line in done.stderr.splitlines() if any(map(str.isalnum, line))]
            said = said or [f"ended with status {done.returncode} and no message"]
            failed = "" if file.is_file() else said[-1]
        except subprocess.TimeoutExpired:
            failed = f"not done after {seconds:.0f} s"
        part = {"part": " ".join(words), "seconds": round(time.perf_counter() - started, 1)}
        return part | ({"failed": failed} if failed else read_json(file))


def main(minutes: float = 8.0, device: str = "cuda", to: Path | None = None, small: bool = False) -> int:
    """Run every part that the time allows; return 1 if a target is missed or a part failed, 2 without a GPU.

    Args:
        minutes: in all; what does not fit is left out and named.
        device: a CUDA device.
        to: a file for all figures, as JSON, written after each part.
        small: a rehearsal of a few seconds, which has no meaning and runs on a CPU too.
    """
    if device.startswith("cuda") and not torch.cuda.is_available():
        refuse("ci.bench gpu measures a GPU, and PyTorch finds none here; --small --device cpu rehearses it")
    until = time.perf_counter() + 60 * minutes
    parts: list[dict[str, Any]] = []
    for words in SMALL if small else PARTS:
        left = until - time.perf_counter()
        if left < SMALLEST_SECONDS:
            parts.append({"part": " ".join(words), "failed": "no time was left"})
            continue
        parts.append(run(words, device, left))
        say(f"{parts[-1]['part']}: {parts[-1].get('failed', 'measured')} ({parts[-1]['seconds']} s)")
        if to is not None:
            write_json(to, {"where": where(device), "parts": parts})
    lines = [Line(**line) for part in parts for line in part.get("lines", [])]
    say(f"{where(device)}\n{table(lines)}")
    for part in parts:
        if "failed" in part:
            say(f"{part['part']}: {part['failed']}")
    return int(any(line.met is False for line in lines) or any("failed" in part for part in parts))
