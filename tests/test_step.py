"""A step of training, worked out by hand: gradient, weight decay, momentum, both rates, and what BatchNorm learns.

v <- m v + (g + d p)        momentum m, decay d, of every parameter
p <- p - r v                r: the rate of the step, ten times as large outside the backbone
"""

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from tiny import begin, recipe
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from core.training.loop import train
from core.training.setup import Training

STEPS = 8
MOMENTUM, DECAY, RATE, MULTIPLIER = 0.8, 0.05, 0.02, 10.0  # large enough to see, none of them a default


pytestmark = [pytest.mark.usefixtures("alone"), pytest.mark.slow]


def watched(training: Training[Any]) -> tuple[list[dict[str, Tensor]], list[dict[str, Tensor]]]:
    """Train; return all parameters before and after each step, and the gradients that each step was given."""
    network = training.network
    weights: list[dict[str, Tensor]] = []
    gradients: list[dict[str, Tensor]] = []

    def copy() -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in network.named_parameters()}

    def before(*_: Any) -> None:
        if not weights:
            weights.append(copy())
        gradients.append(
            {name: value.grad.clone() for name, value in network.named_parameters() if value.grad is not None}
        )

    hooks = [
        register_optimizer_step_pre_hook(before),
        register_optimizer_step_post_hook(lambda *_: weights.append(copy())),
    ]
    try:
        train(training)
    finally:
        for hook in hooks:
            hook.remove()
    return weights, gradients


def test_steps_are_those_of_the_formula(tmp_path: Path) -> None:
    what = recipe(
        noisy=False, learning_rate=RATE, momentum=MOMENTUM, weight_decay=DECAY, head_multiplier=MULTIPLIER, power=0.5
    )
    weights, gradients = watched(begin(tmp_path, what))
    assert len(weights) == STEPS + 1
    p, v = weights[0], {name: torch.zeros_like(value) for name, value in weights[0].items()}
    assert {name.startswith("backbone.") for name in p} == {True, False}
    for step in range(STEPS):
        assert gradients[step].keys() == p.keys()
        rate = RATE * (1 - step / STEPS) ** 0.5
        for name, g in gradients[step].items():
            v[name] = MOMENTUM * v[name] + (g + DECAY * p[name])
            r = rate if name.startswith("backbone.") else MULTIPLIER * rate
            p = {**p, name: p[name] - r * v[name]}
            torch.testing.assert_close(weights[step + 1][name], p[name], rtol=1e-4, atol=1e-6, msg=f"{step} {name}")


@pytest.mark.parametrize("accumulate", [1, 2])
def test_gradients_are_those_of_the_sum_of_the_terms(tmp_path: Path, accumulate: int) -> None:
    """Computed once more from the images that the network saw; as a mean over the parts of a batch."""
    seen: list[tuple[Tensor, Tensor]] = []

    def objective(output: tiny.Output, labels: Tensor) -> dict[str, Tensor]:
        terms = tiny.loss(output, labels)
        again = sum(terms.values())
        seen.append((torch.cat([part.flatten() for part in gradient_of(again)]), labels))
        return terms

    training = begin(tmp_path, recipe(noisy=False), objective, accumulate=accumulate)
    parameters = list(training.network.parameters())

    def gradient_of(value: Any) -> list[Tensor]:
        return list(torch.autograd.grad(value, parameters, retain_graph=True))

    _, gradients = watched(training)
    assert len(seen) == accumulate * STEPS
    for step, given in enumerate(gradients):
        parts = [gradient for gradient, _ in seen[accumulate * step : accumulate * (step + 1)]]
        found = torch.cat([given[name].flatten() for name, _ in training.network.named_parameters()])
        torch.testing.assert_close(found, sum(parts[1:], parts[0]) / accumulate, rtol=1e-4, atol=1e-6)


def test_statistics_of_batchnorm_move_in_training_and_stay_in_testing(tmp_path: Path) -> None:
    """A tenth of the way to those of each batch: the momentum that all five papers leave at its default."""
    training = begin(tmp_path, recipe(noisy=True), validate_every=1)
    (norm,) = (part for part in training.network.modules() if isinstance(part, nn.BatchNorm2d))
    batches: list[Tensor] = []

    def note(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        if module.training:
            batches.append(arguments[0].detach())

    norm.register_forward_pre_hook(note)
    train(training)
    assert len(batches) == STEPS
    mean, variance = torch.zeros(8), torch.ones(8)
    for batch in batches:
        mean = 0.9 * mean + 0.1 * batch.mean(dim=(0, 2, 3))
        variance = 0.9 * variance + 0.1 * batch.var(dim=(0, 2, 3))
    assert mean.abs().min() > 1e-3
    torch.testing.assert_close(norm.running_mean, mean, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(norm.running_var, variance, rtol=1e-4, atol=1e-6)


def test_dropout_is_drawn_in_training_alone(tmp_path: Path) -> None:
    training = begin(tmp_path, recipe(noisy=True), validate_every=1)
    changed: dict[bool, list[bool]] = {True: [], False: []}
    training.network.dropout.register_forward_hook(
        lambda module, given, found: changed[module.training].append(not torch.equal(given[0], found))
    )
    train(training)
    assert len(changed[True]) == STEPS
    assert all(changed[True])
    assert changed[False]
    assert not any(changed[False])
