"""Test a DF-DAM: accelerate launch papers/dfdam/evaluate.py [RECIPE] [--weights FOLDER_OR_REPOSITORY] [--data DIR]."""

import sys

from core.command import EvaluationOptions, parse
from core.errors import door
from core.testing.report import evaluate_checkpoint
from papers.dfdam.model import DFDAM, Architecture
from papers.dfdam.recipes import DEMO, RECIPES


def main() -> None:
    """Test what the command line says."""
    with door():
        evaluate_checkpoint(DFDAM, parse(EvaluationOptions[Architecture], RECIPES, DEMO, sys.argv[1:]))


if __name__ == "__main__":
    main()
