"""Test a RANet: accelerate launch papers/ranet/evaluate.py [RECIPE] [--weights FOLDER_OR_REPOSITORY] [--data DIR]."""

from core.launch import evaluate
from papers.ranet.recipes import PAPER

if __name__ == "__main__":
    evaluate(PAPER)
