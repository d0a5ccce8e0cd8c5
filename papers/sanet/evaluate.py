"""Test a SANet: accelerate launch papers/sanet/evaluate.py [RECIPE] [--weights WEIGHTS] [--data DIR].

On PASCAL Context with 59 classes it also says what the paper calls 60 classes with background: the mean IoU times
59/60, as if the background had been missed everywhere.
"""

from core.launch import evaluate
from papers.sanet.recipes import PAPER

if __name__ == "__main__":
    evaluate(PAPER)
