"""What learns: the network, its optimiser and the average of its weights, as they were when the run was stopped."""

from typing import Any, cast

import torch
from timm.utils import ModelEmaV3
from torch import nn

from core import machine
from core.networks.network import Network
from core.recipe import Optimisation
from core.training.setup import Training


def parameter_groups(network: Network, optimisation: Optimisation) -> list[dict[str, Any]]:
    """The backbone learns at the recipe's rate, everything else at `head_multiplier` times it, unless frozen."""
    backbone = list(network.backbone.parameters())
    known = {id(parameter) for parameter in backbone}
    head = [parameter for parameter in network.parameters() if id(parameter) not in known]
    groups = [
        {"params": backbone, "multiplier": 1.0, "lr": optimisation.learning_rate},
        {"params": head, "multiplier": optimisation.head_multiplier, "lr": optimisation.learning_rate},
    ]
    return groups if optimisation.freeze != "backbone" else groups[1:]


def make_optimiser(network: Network, optimisation: Optimisation, device: torch.device) -> torch.optim.Optimizer:
    """SGD with momentum, or AdamW; on a GPU all parameters in one kernel."""
    groups, fused = parameter_groups(network, optimisation), device.type == "cuda" or None
    if optimisation.optimiser == "adamw":
        return torch.optim.AdamW(groups, weight_decay=optimisation.weight_decay, fused=fused)
    return torch.optim.SGD(groups, momentum=optimisation.momentum, weight_decay=optimisation.weight_decay, fused=fused)


class Learner:
    """A network in training.

    Attributes:
        plain: the network itself.
        network: the same, compiled and shared among processes as the run says; this one is called.
        average: the moving average of its weights, if the recipe keeps one.
        channels_last: how images lie in memory.
    """

    def __init__(self, training: Training[Any]) -> None:
        run, accelerator, state = training.run, training.accelerator, training.state
        self.accelerator, self.steps = accelerator, training.steps
        self.optimisation: Optimisation = training.recipe.optimisation
        self.channels_last = machine.channels_last(
            run.channels_last, accelerator.device, run.precision, training.network
        )
        plain = machine.synchronise_batchnorm(training.network, accelerator).to(accelerator.device)
        self.plain = plain.to(memory_format=torch.channels_last) if self.channels_last else plain
        if self.optimisation.freeze == "backbone":
            self.plain.backbone.requires_grad_(False)
        optimiser = make_optimiser(self.plain, self.optimisation, accelerator.device)
        self.average = ModelEmaV3(self.plain, decay=self.optimisation.ema) if self.optimisation.ema else None
        if state is not None:
            optimiser.load_state_dict(state["optimiser"])
            if self.average is not None:
                self.average.module.load_state_dict(state["average"])
        prepared = machine.compiled(self.plain, run.cuda_graphs) if run.compile else self.plain
        self.network, self.optimiser = accelerator.prepare(prepared, optimiser)
        if state is not None and accelerator.scaler is not None:
            accelerator.scaler.load_state_dict(state["scaler"])

    @property
    def tested(self) -> Network:
        """The network that is tested and saved: the average, if there is one."""
        return self.plain if self.average is None else cast(Network, self.average.module)

    def train(self) -> None:
        """Enter training mode; BatchNorm and dropout of what is frozen stay as in a test."""
        self.plain.train()
        if self.optimisation.freeze == "backbone":
            self.plain.backbone.eval()
        if self.optimisation.freeze == "batchnorm":
            for part in self.plain.backbone.modules():
                if isinstance(part, nn.modules.batchnorm._BatchNorm):
                    part.eval()

    def set_rate(self, step: int) -> float:
        """Set the learning rate of a step, and return the backbone's."""
        rate = self.optimisation.rate(step, self.steps)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["multiplier"]
        return rate

    def learn(self, objective: torch.Tensor) -> None:
        """Learn from a part of a batch; its last part moves the weights."""
        self.accelerator.backward(objective)
        if self.optimisation.clip is not None and self.accelerator.sync_gradients:
            self.accelerator.clip_grad_norm_(self.plain.parameters(), self.optimisation.clip)
        self.optimiser.step()
        self.optimiser.zero_grad()

    def state(self) -> dict[str, Any]:
        """All of it that a run needs in order to go on."""
        scaler = self.accelerator.scaler
        return {
            "network": self.plain.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average.module.state_dict() if self.average is not None else None,
            "scaler": scaler.state_dict() if scaler is not None else None,
        }
