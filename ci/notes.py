"""What a reader of a reported number must know: what keeps it from being reached, or judged, from what is public.

A row is kept whatever stands here, and so is its reported number.
"""

from ci.columns import OVERHEADS, PRINTED
from ci.overheads import WIDTH
from ci.readings import SANET_BUDGET, SANET_TEXT
from core.datasets import servers as submission
from hub.networks import paper_of


def reported(recipe: str) -> float:
    """The mean IoU that a paper reports for a recipe, in percent."""
    return next(row.value for row in paper_of(recipe).recipes[recipe].reported if row.metric == "mIoU")


_DANET_CONTEXT = (
    "what trained this row was never released. The authors refer to PyTorch-Encoding, whose settings this recipe has; "
    "a user who followed them with ResNet-50 and published the result reached 44.95 at one scale where "
    f"{reported('danet-r50-pascal-context'):.2f} is reported (issue 72 of the authors' repository, without an answer). "
    "Expect to fall short."
)
_SANET_60 = (
    "the paper by all appearance multiplies its number for 59 classes by 59/60, as if the background had been missed "
    "everywhere: "
    + ", and ".join(
        f"{reported(name)} becomes {reported(f'{name}-60')}"
        for name in ("sanet-r101-pascal-context", "sanet-b7-pascal-context")
    )
    + ". This recipe trains on 60 classes and does not."
)

_MULTIPLY_ADDS = PRINTED["SANet", "Table 6", "SANet (ours)", "multiply-adds"]
_ADDED = PRINTED[(*OVERHEADS, "RANet", "multiply-adds")]
_ADDED_PARAMETERS = PRINTED[(*OVERHEADS, "RANet", "parameters")]
_ADDED_MEMORY = PRINTED[(*OVERHEADS, "RANet", "memory")]

NOTES: dict[str, str] = {
    "danet-r50-pascal-context-fcn": _DANET_CONTEXT,
    "danet-r50-pascal-context": _DANET_CONTEXT,
    "danet-r101-pascal-context": _DANET_CONTEXT,
    "sanet-r101-pascal-context-60": _SANET_60,
    "sanet-b7-pascal-context-60": _SANET_60,
    "sanet-r101-voc2012-test": (
        f"Table 6 also prints {_MULTIPLY_ADDS.text} G multiply-adds, which the text cannot reach: with its "
        f"downsampling of {SANET_TEXT[0]} at all four stages they are 8.4 % fewer; "
        f"{', '.join(map(str, SANET_BUDGET[:3]))} and {SANET_BUDGET[3]} reaches them within 0.5 % "
        "(`python -m ci.complexity`)."
    ),
    "ranet-r101-cityscapes": (
        f"Table 3 also prints {_ADDED.text} G, {_ADDED_PARAMETERS.text} M and {_ADDED_MEMORY.text} MB for what the "
        "network adds. No convention of counting that was tried fits two of that table's five rows, its input of "
        f"{WIDTH} channels cannot be the one of its DANet row, and the number of representatives is not printed; "
        "memory depends on the allocator of its day and was not reproduced for any of the five rows "
        "(`python -m ci.complexity`)."
    ),
}
"""By recipe."""

SERVER = "the labels of this split are not public: only the test server of the data set can measure it."


def note(recipe: str, data: str, split: str) -> str | None:
    """What must be known of a row, in one or two sentences; None if there is nothing."""
    sentences = [NOTES[recipe]] if recipe in NOTES else []
    if data in submission.SERVERS and split == submission.TEST:
        sentences.append(SERVER)
    return " Besides, ".join(sentences) or None
