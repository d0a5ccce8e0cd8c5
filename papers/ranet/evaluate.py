"""Test a RANet: accelerate launch papers/ranet/evaluate.py [RECIPE] [--weights FOLDER_OR_REPOSITORY] [--data DIR]."""

import sys

from core.command import EvaluationOptions, parse
from core.errors import door
from core.testing.report import evaluate_checkpoint
from papers.ranet.model import Architecture, CoarseSegmentation, RANet
from papers.ranet.recipes import COARSE_SEGMENTATION, DEMO, RECIPES


def main() -> None:
    """Test what the command line says; the rows "coarse segmentation" by the semantic score maps of RCB alone."""
    with door():
        options = parse(EvaluationOptions[Architecture], RECIPES, DEMO, sys.argv[1:])
        coarse = options.recipe.name in COARSE_SEGMENTATION
        evaluate_checkpoint(CoarseSegmentation if coarse else RANet, options)


if __name__ == "__main__":
    main()
