"""Test a DANet: accelerate launch papers/danet/evaluate.py [RECIPE] [--weights WEIGHTS] [--data DIR]."""

from core.launch import evaluate
from papers.danet.recipes import PAPER

if __name__ == "__main__":
    evaluate(PAPER)
