"""What training each recipe takes of a GPU: counted without one, and written into papers/PAPER/costs.json.

    python -m ci.costs             writes them; says which files changed

Networks run on the meta device, without memory or arithmetic: the sizes of what autograd keeps for the backward pass
are added, each storage once, and those of the scores that the loss is computed from. What depends on the image (RANet's
regions) counts as it was measured, in proportion to the positions of the features. ci/bench/README.md has what was
measured of nine trainings beside what is counted for them.
"""

import sys
from dataclasses import replace
from typing import Any

import torch
import tyro
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

import papers
from core import cost, datasets
from core.cost import Cost
from core.networks.losses import cross_entropy
from core.paper import Paper
from core.recipe import Recipe

GIB = 2**30
IMAGES = 2
KINDS = (torch.float32, torch.bfloat16)


def size(recipe: Recipe[Any]) -> tuple[int, int]:
    """Height and width of a training image: the crop, or the largest that whole images can have."""
    how = recipe.augmentation
    if how.crop is not None:
        return how.crop, how.crop
    own = datasets.find(recipe.data.name).size
    if how.base is None and own is not None:
        return own[1], own[0]
    longest = how.limit or round(2 * (how.base or 0) * max(how.scale or (1.0,)))
    return min(round((how.base or longest) * max(how.scale or (1.0,))), longest), longest


def kept(paper: Paper, recipe: Recipe[Any], dtype: torch.dtype) -> tuple[float, float]:
    """GiB that a training takes in any case, and for each image."""
    with torch.device("meta"):
        network = paper.build(recipe).train().to(dtype)
        height, width = size(recipe)
        each = 0.0 if paper.uncounted is None else paper.uncounted(network) / GIB
        uncounted = each * -(-height // 8) * -(-width // 8)
        own = {tensor.untyped_storage()._cdata for tensor in (*network.parameters(), *network.buffers())}
        sizes: dict[int, int] = {}
        alive = []

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage._cdata not in own:
                sizes[storage._cdata] = storage.nbytes()
                alive.append(tensor)  # so that no other storage gets its address
            return tensor

        with saved_tensors_hooks(keep, lambda tensor: tensor):
            for scores in network(torch.empty(IMAGES, 3, *size(recipe), dtype=dtype)):
                if scores is not None:
                    keep(scores)
                    if scores.ndim == 4:
                        labels = torch.zeros(IMAGES, *scores.shape[-2:], dtype=torch.long)
                        keep(cross_entropy(scores, labels))
    weights = sum(parameter.numel() for parameter in network.parameters())
    bytes_of_weight = 4 * 3 + (0 if dtype == torch.float32 else 2)  # itself, its gradient, its momentum; a copy
    return weights * bytes_of_weight / GIB, sum(sizes.values()) / IMAGES / GIB + uncounted


def hours(paper: Paper, recipe: Recipe[Any]) -> float | None:
    """Hours of training on one H200 with bf16, where its speed was measured."""
    counts = datasets.find(recipe.data.name).counts.get(recipe.data.train, ())
    if recipe.name not in paper.speeds or not counts:
        return None
    images = recipe.optimisation.steps(max(counts)) * recipe.optimisation.batch
    return round(images / paper.speeds[recipe.name] / 3600, 1)


def count(paper: Paper) -> dict[str, Cost]:
    """The costs of each recipe that trains."""
    found: dict[Any, Cost] = {}
    costs = {}
    for recipe in paper.recipes.values():
        if recipe.same_weights_as is not None:
            continue
        key = (recipe.data.num_classes, recipe.architecture, size(recipe))
        if key not in found:
            (fixed, image), (fixed_bf16, image_bf16) = (kept(paper, recipe, kind) for kind in KINDS)
            found[key] = Cost(round(fixed, 3), round(image, 3), round(fixed_bf16, 3), round(image_bf16, 3))
        costs[recipe.name] = replace(found[key], hours=hours(paper, recipe))
    return costs


def main() -> None:
    """Count all papers."""
    for paper in papers.every():
        text = cost.to_json(count(paper))
        if not paper.costs_file.is_file() or paper.costs_file.read_text(encoding="utf-8") != text:
            paper.costs_file.write_text(text, encoding="utf-8")
            sys.stdout.write(f"wrote {paper.costs_file}\n")


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
