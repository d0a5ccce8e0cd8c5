"""What a planted mistake is, and whose tests must notice which."""

from dataclasses import dataclass

CONDITIONS = ("tests/test_conditions_{paper}.py",)
"""The table of a paper's rows."""
ITS_OWN = "{paper} and not p{paper}"  # or DANet's would be PDANet's too

CAMVID = ("tests/test_conditions_camvid.py", "-k", "as_written and " + ITS_OWN)
"""The table of our own rows on CamVid."""
HEADS = ("tests/test_heads.py", "-k", ITS_OWN)
"""Stored answers, dropout and batch normalisation of a paper's networks."""
START = ("tests/test_heads.py", "-k", "new_layers_start_as and " + ITS_OWN)
"""What the layers outside a paper's backbone start from."""
GRADIENTS = ("tests/test_gradients.py", "-k", ITS_OWN)
"""What each term of a paper trains, and by which gradient."""
FORMULA = ("tests/test_step.py", "-k", "formula")
TERMS = ("tests/test_step.py", "-k", "sum_of_the_terms")
STATISTICS = ("tests/test_step.py", "-k", "statistics")
DROPPED = ("tests/test_step.py", "-k", "dropout")
"""A step of the loop by hand, and what its gradients, batch normalisations and dropout are."""
BACKBONES = ("tests/test_dilations.py", "-k", "not efficientnet and not hrnet and not resnet101")
PARTS = ("tests/test_parts.py", "-k", ITS_OWN)
"""A paper's networks with a module switched off."""
SWITCHED_OFF = ("tests/test_parts.py",)
RECOMPUTED = ("tests/test_recompute.py",)
IMAGENET = ("tests/test_imagenet.py",)
PRINTED = ("tests/test_rows.py", "-k", "every_row_of_the_paper and " + ITS_OWN)
"""The numbers of a paper, written from its tables."""
CONSTRUCTION = ("tests/test_ranet_construction.py", "-k", "definition or divergence or neighbours")
INTERACTION = ("tests/test_ranet_interaction.py", "-k", "definition or highest_scores")
NEIGHBOURHOOD = ("tests/test_ranet_neighbourhood.py",)
INFERENCE = ("tests/test_inference.py", "-k", "not photo and not large and not strips and not how_many")
ATTENTION = ("tests/test_attention.py", "-k", "form_is_given or large_enough")
TRANSFORMS = ("tests/test_transforms.py",)

LOOP = "core/training/loop.py"
LEARNER = "core/training/learner.py"


@dataclass(frozen=True)
class Mistake:
    """A text of a file that becomes another.

    `papers` are those whose tests must notice it, each for itself; in the arguments `tests` of pytest, {paper} is the
    paper. A mistake in what all papers share and no paper can have tests of its own for has one run.
    """

    what: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    papers: tuple[str, ...] = ()

    def runs(self) -> list[tuple[str, ...]]:
        """The arguments of pytest, for each paper."""
        filled = [tuple(part.format(paper=paper) for part in self.tests) for paper in self.papers or ("",)]
        return list(dict.fromkeys(filled))


def recipe(paper: str, what: str, old: str, new: str, tests: tuple[str, ...] = CONDITIONS) -> Mistake:
    return Mistake(f"{paper}: {what}", f"papers/{paper}/recipes.py", old, new, tests, (paper,))


def model(paper: str, what: str, old: str, new: str, tests: tuple[str, ...] = HEADS, file: str = "model") -> Mistake:
    return Mistake(f"{paper}: {what}", f"papers/{paper}/{file}.py", old, new, tests, (paper,))


def loss(paper: str, what: str, old: str, new: str, tests: tuple[str, ...] = GRADIENTS) -> Mistake:
    return model(paper, what, old, new, tests, "loss")


def default(what: str, old: str, new: str, papers: tuple[str, ...]) -> Mistake:
    return Mistake(f"a default of recipes: {what}", "core/recipe.py", old, new, CONDITIONS, papers)


def data(what: str, old: str, new: str, papers: tuple[str, ...]) -> Mistake:
    return Mistake(f"a data set: {what}", "core/conditions.py", old, new, CONDITIONS, papers)
