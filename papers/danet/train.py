"""Train a DANet: accelerate launch papers/danet/train.py [RECIPE] [--data DIR] [options]; --help lists the recipes."""

from core.launch import train
from papers.danet.recipes import PAPER

if __name__ == "__main__":
    train(PAPER)
