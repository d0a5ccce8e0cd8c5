"""Train a DF-DAM: accelerate launch papers/dfdam/train.py [RECIPE] [--data DIR] [options]; --help lists the recipes."""

from core.launch import train
from papers.dfdam.recipes import PAPER

if __name__ == "__main__":
    train(PAPER)
