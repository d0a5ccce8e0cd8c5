"""Train a RANet: accelerate launch papers/ranet/train.py [RECIPE] [--data DIR] [options]; --help lists the recipes."""

from core.launch import train
from papers.ranet.recipes import PAPER

if __name__ == "__main__":
    train(PAPER)
