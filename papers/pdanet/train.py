"""Train a PDANet: accelerate launch papers/pdanet/train.py [RECIPE] [--data DIR] [options]; --help lists recipes."""

from core.launch import train
from papers.pdanet.recipes import PAPER

if __name__ == "__main__":
    train(PAPER)
