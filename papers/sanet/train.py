"""Train a SANet: accelerate launch papers/sanet/train.py [RECIPE] [--data DIR] [options]; --help lists the recipes."""

import sys
from functools import partial

from core.command import TrainingOptions, parse
from core.errors import door
from core.training.loop import train
from core.training.setup import set_up
from papers.sanet.loss import loss
from papers.sanet.model import Architecture, SANet
from papers.sanet.recipes import DEMO, RECIPES


def main() -> None:
    """Train what the command line says."""
    with door():
        options = parse(TrainingOptions[Architecture], RECIPES, DEMO, sys.argv[1:])
        published = RECIPES[options.recipe.name]
        architecture = options.recipe.architecture
        objective = partial(loss, alpha=architecture.alpha, beta=architecture.beta)  # the weights of Eq. (6)
        training = set_up(options.recipe, options.run, published, SANet, objective)
    train(training)


if __name__ == "__main__":
    main()
