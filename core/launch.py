"""The two commands of every paper: train a recipe, test a checkpoint."""

import sys

from accelerate.state import PartialState

from core.command import EvaluationOptions, TrainingOptions, parse
from core.errors import door, underway
from core.paper import Paper
from core.testing.metrics import Score
from core.testing.report import evaluate_checkpoint, known
from core.training import loop
from core.training.setup import set_up


def train(paper: Paper) -> Score:
    """Train what the command line says."""
    with door():
        options = parse(TrainingOptions, paper.recipes, paper.demo, sys.argv[1:], paper.costs)
        recipe = options.recipe
        objective = paper.objective(recipe.architecture)
        training = set_up(recipe, options.run, paper.recipes[recipe.name], paper.network, objective)
    with underway():
        return loop.train(training)


def evaluate(paper: Paper) -> None:
    """Test what the command line says."""
    with door():
        options = parse(EvaluationOptions, *known(paper.recipes, paper.demo, sys.argv[1:], paper.network), sys.argv[1:])
        network = paper.tested_by.get(options.recipe.name, paper.network)
        score = evaluate_checkpoint(network, options)
        if score is not None and paper.remark is not None:
            PartialState().print(paper.remark(options.recipe.data, score.mean_iou), end="")
