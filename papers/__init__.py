"""The papers, one folder each, which never import each other.

Every folder keeps the same contracts:

* `model.py`: a network maps an image `b 3 h w` to a NamedTuple whose `.scores` is `b k h w` at input size. Its
  `Architecture` is a frozen dataclass, so that it can stand in a recipe and in `config.json`.
* `loss.py`: `loss(output, labels) -> dict[str, Tensor]` gives named terms, already weighted; their sum is minimised.
* `recipes.py`: `RECIPES: dict[str, Recipe]`, one value for each row that the paper reports; `DEMO` names the one that
  runs without arguments.
* `train.py`, `evaluate.py`, `figures.py`: the commands.
"""
