"""Test a DANet: accelerate launch papers/danet/evaluate.py [RECIPE] [--weights FOLDER_OR_REPOSITORY] [--data DIR]."""

from core.launch import evaluate
from papers.danet.recipes import PAPER

if __name__ == "__main__":
    evaluate(PAPER)
