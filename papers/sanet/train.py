"""Train a SANet: accelerate launch papers/sanet/train.py [RECIPE] [--data DIR] [options]; --help lists the recipes."""

from core.launch import train
from papers.sanet.recipes import PAPER

if __name__ == "__main__":
    train(PAPER)
