"""Train a RANet: accelerate launch papers/ranet/train.py [RECIPE] [--data DIR] [options]; --help lists the recipes."""

import sys

from core.command import TrainingOptions, door, parse
from core.loop import train
from core.preparation import prepare
from papers.ranet.loss import loss
from papers.ranet.model import Architecture, RANet
from papers.ranet.recipes import DEMO, RECIPES


def main() -> None:
    """Train what the command line says."""
    with door():
        options = parse(TrainingOptions[Architecture], RECIPES, DEMO, sys.argv[1:])
        published = RECIPES[options.recipe.name]
        training = prepare(options.recipe, options.run, published, RANet, loss)
    train(training)


if __name__ == "__main__":
    main()
