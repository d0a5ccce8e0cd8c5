"""Test a PDANet: accelerate launch papers/pdanet/evaluate.py [RECIPE] [--weights WEIGHTS] [--data DIR]."""

from core.launch import evaluate
from papers.pdanet.recipes import PAPER

if __name__ == "__main__":
    evaluate(PAPER)
