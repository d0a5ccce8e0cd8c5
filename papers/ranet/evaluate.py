"""Test a RANet: accelerate launch papers/ranet/evaluate.py [RECIPE] [--weights WEIGHTS] [--data DIR]."""

from core.launch import evaluate
from papers.ranet.recipes import PAPER

if __name__ == "__main__":
    evaluate(PAPER)
