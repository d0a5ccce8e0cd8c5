"""What each module of a paper contributes to a trained network: its score with the module switched off.

That is not what a network gains by having the module, which only training without it can say: the rows of a paper's
ablation. A module whose absence changes nothing does nothing, however much better its network is than another.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from accelerate import Accelerator
from torch.utils.data import Subset

from core.images.classes import Classes
from core.networks.network import Network
from core.recipe import Protocol
from core.testing.evaluation import Samples, count
from core.testing.metrics import Score
from core.values import to_json


@dataclass(frozen=True)
class Contributions:
    """Mean IoU, in percent, of a trained network as it is and without each of its modules, on the same images.

    `without` has the names that `Network.without` takes.
    """

    images: int
    protocol: Protocol
    as_trained: float
    without: Mapping[str, float]

    def table(self) -> str:
        """A line for each module."""
        width = max(map(len, self.without))
        lines = [f"what each module contributes, mIoU on {self.images} images: {self.as_trained:.2f} as trained"]
        for name, value in self.without.items():
            lines.append(f"  without {name:<{width}}  {value:6.2f}  ({value - self.as_trained:+.2f})")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Everything as plain JSON, as `score.json` has it."""
        return {
            "images": self.images,
            "protocol": to_json(self.protocol),
            "as_trained": self.as_trained,
            "without": dict(self.without),
        }


def contributions(
    network: Network,
    samples: Samples,
    protocol: Protocol,
    classes: Classes,
    accelerator: Accelerator,
    workers: int = 0,
    most: int | None = None,
    as_trained: Score | None = None,
) -> Contributions | None:
    """Test a trained network without each of its modules; all processes must call this together.

    Args:
        network: not wrapped, on the accelerator's device.
        samples: what it is tested on.
        protocol: how.
        classes: of the samples.
        accelerator: of all processes.
        workers: processes that load images ahead.
        most: at most so many images, spread over all; None: all.
        as_trained: the score on all samples, if it is known; it is used where all samples are.

    Returns:
        The scores; None if nothing can be switched off in this network.
    """
    parts = list(network.removable())
    if not parts:
        return None
    number = len(samples)
    if most is not None and number > most:
        samples, as_trained = Subset(samples, [i * number // most for i in range(most)]), None  # type: ignore[arg-type]

    def test(title: str) -> Score:
        return Score(classes, count(network, samples, protocol, len(classes), accelerator, workers, title))

    whole = as_trained or test("as trained")
    without = {}
    for part in parts:
        with network.without(part):
            without[part] = 100 * test(f"without {part}").mean_iou
    return Contributions(len(samples), protocol, 100 * whole.mean_iou, without)
