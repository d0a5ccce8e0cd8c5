"""What a reader of a reported number must know: what keeps it from being reached, or judged, from what is public.

A row is kept whatever stands here, and so is its reported number.
"""

from core import submission

_DANET_CONTEXT = (
    "what trained this row was never released. The authors refer to PyTorch-Encoding, whose settings this recipe has; "
    "a user who followed them with ResNet-50 and published the result reached 44.95 at one scale where 50.10 is "
    "reported (issue 72 of the authors' repository, without an answer). Expect to fall short."
)
_SANET_60 = (
    "the paper by all appearance multiplies its number for 59 classes by 59/60, as if the background had been missed "
    "everywhere: 53.0 becomes 52.1, and 55.3 becomes 54.4. This recipe trains on 60 classes and does not."
)

NOTES: dict[str, str] = {
    "danet-r50-pascal-context-fcn": _DANET_CONTEXT,
    "danet-r50-pascal-context": _DANET_CONTEXT,
    "danet-r101-pascal-context": _DANET_CONTEXT,
    "sanet-r101-pascal-context-60": _SANET_60,
    "sanet-b7-pascal-context-60": _SANET_60,
    "sanet-r101-voc2012-test": (
        "Table 6 also prints 204.7 G multiply-adds, which the text cannot reach: with its downsampling of 8 at all "
        "four stages they are 8.4 % fewer; 8, 4, 2 and 1 reaches them "
        "within 0.5 % (`python -m ci.complexity`)."
    ),
    "ranet-r101-cityscapes": (
        "Table 3 also prints 212 G, 21 M and 1893 MB for what the network adds. No convention of counting that was "
        "tried fits two of that table's five rows, its input of 512 channels cannot be the one of its DANet and RANet "
        "rows, and the number of representatives is not printed; memory depends on the allocator of its day and was "
        "not reproduced for any of the five rows (`python -m ci.complexity`)."
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
