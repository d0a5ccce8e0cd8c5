"""Train a DANet: accelerate launch papers/danet/train.py [RECIPE] [--data DIR] [options]; --help lists the recipes."""

import sys

from core.command import TrainingOptions, parse
from core.errors import door
from core.training.loop import train
from core.training.setup import set_up
from papers.danet.loss import loss
from papers.danet.model import Architecture, DANet
from papers.danet.recipes import DEMO, RECIPES


def main() -> None:
    """Train what the command line says."""
    with door():
        options = parse(TrainingOptions[Architecture], RECIPES, DEMO, sys.argv[1:])
        published = RECIPES[options.recipe.name]
        training = set_up(options.recipe, options.run, published, DANet, loss)
    train(training)


if __name__ == "__main__":
    main()
