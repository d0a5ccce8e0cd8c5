"""Test a DF-DAM: accelerate launch papers/dfdam/evaluate.py [RECIPE] [--weights WEIGHTS] [--data DIR]."""

from core.launch import evaluate
from papers.dfdam.recipes import PAPER

if __name__ == "__main__":
    evaluate(PAPER)
