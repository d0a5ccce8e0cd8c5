"""Test a SANet: accelerate launch papers/sanet/evaluate.py [RECIPE] [--weights FOLDER_OR_REPOSITORY] [--data DIR].

On PASCAL Context with 59 classes it also says what the paper calls 60 classes with background: the mean IoU times
59/60, as if the background had been missed everywhere.
"""

import sys

from accelerate.state import PartialState

from core.command import EvaluationOptions, parse
from core.errors import door
from core.testing.report import evaluate_checkpoint
from papers.sanet.model import Architecture, SANet
from papers.sanet.recipes import DEMO, PASCAL_CONTEXT, RECIPES


def with_missed_background(mean_iou: float, num_classes: int) -> float:
    """Return the mean IoU over one class more, whose IoU is 0."""
    return mean_iou * num_classes / (num_classes + 1)


def main() -> None:
    """Test what the command line says."""
    with door():
        options = parse(EvaluationOptions[Architecture], RECIPES, DEMO, sys.argv[1:])
        score = evaluate_checkpoint(SANet, options)
    if score is not None and options.recipe.data.name == PASCAL_CONTEXT.name:
        value = 100 * with_missed_background(score.mean_iou, len(score.classes))
        PartialState().print(f"mIoU x 59/60, the paper's 60 classes with background: {value:.2f}")


if __name__ == "__main__":
    main()
