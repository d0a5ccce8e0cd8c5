"""Test a DF-DAM: accelerate launch papers/dfdam/evaluate.py [RECIPE] [--weights FOLDER_OR_REPOSITORY] [--data DIR]."""

from core.launch import evaluate
from papers.dfdam.recipes import PAPER

if __name__ == "__main__":
    evaluate(PAPER)
