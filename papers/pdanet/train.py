"""Train a PDANet: accelerate launch papers/pdanet/train.py [RECIPE] [--data DIR] [options]; --help lists recipes."""

import sys

from core.command import TrainingOptions, parse
from core.errors import door
from core.training.loop import train
from core.training.setup import set_up
from papers.pdanet.loss import loss
from papers.pdanet.model import Architecture, PDANet
from papers.pdanet.recipes import DEMO, RECIPES


def main() -> None:
    """Train what the command line says."""
    with door():
        options = parse(TrainingOptions[Architecture], RECIPES, DEMO, sys.argv[1:])
        published = RECIPES[options.recipe.name]
        training = set_up(options.recipe, options.run, published, PDANet, loss)
    train(training)


if __name__ == "__main__":
    main()
