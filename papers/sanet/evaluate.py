"""Test a SANet: accelerate launch papers/sanet/evaluate.py [RECIPE] [--weights WEIGHTS] [--data DIR].

On PASCAL Context with 59 classes it also says what the paper calls 60 classes with background: the mean IoU times
59/60, as if the background had been missed everywhere.
"""

from accelerate.state import PartialState

from core.launch import evaluate
from papers.sanet.recipes import PAPER, PASCAL_CONTEXT


def with_missed_background(mean_iou: float, num_classes: int) -> float:
    """Return the mean IoU over one class more, whose IoU is 0."""
    return mean_iou * num_classes / (num_classes + 1)


def main() -> None:
    """Test what the command line says."""
    recipe, score = evaluate(PAPER)
    if score is not None and recipe.data.name == PASCAL_CONTEXT.name:
        value = 100 * with_missed_background(score.mean_iou, len(score.classes))
        PartialState().print(f"mIoU x 59/60, the paper's 60 classes with background: {value:.2f}")


if __name__ == "__main__":
    main()
