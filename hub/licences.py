"""The terms of the data sets that weights were trained on, in our words: what stands at the link is what counts."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Licence:
    """The terms of a data set, in a sentence, where they stand, and what the data set is called.

    `name` is the Hub's identifier of a licence, or "other".
    """

    title: str
    name: str
    link: str | None
    terms: str


LICENCES: dict[str, Licence] = {
    "ade20k": Licence(
        "ADE20K",
        "other",
        "https://groups.csail.mit.edu/vision/datasets/ADE20K/terms/",
        "Images for non-commercial research and education only; annotations under BSD-3-Clause.",
    ),
    "camvid": Licence(
        "CamVid",
        "other",
        "http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/",
        "The frames state no licence; the files and splits of SegNet's authors are for personal and research use "
        "(CC BY-NC 4.0). Take the weights for non-commercial research.",
    ),
    "cityscapes": Licence(
        "Cityscapes",
        "other",
        "https://www.cityscapes-dataset.com/license/",
        "For non-commercial purposes, such as research and teaching, after registration; images may not be passed on.",
    ),
    "coco_stuff10k": Licence(
        "COCO-Stuff 10k",
        "other",
        "https://github.com/nightrome/cocostuff10k",
        "Annotations under CC BY 4.0; images under the terms of Flickr, each with its own licence.",
    ),
    "coco_voc": Licence(
        "COCO 2017 with the classes of VOC",
        "other",
        "https://cocodataset.org/#termsofuse",
        "Annotations under CC BY 4.0; images under the terms of Flickr, each with its own licence.",
    ),
    "pascal_context": Licence(
        "PASCAL Context",
        "other",
        "https://cs.stanford.edu/~roozbeh/pascal-context/",
        "Annotations of PASCAL VOC 2010, whose images are under the terms of Flickr.",
    ),
    "scenes": Licence(
        "Scenes",
        "apache-2.0",
        None,
        "Drawn by the code that trains on them, under Apache-2.0.",
    ),
    "voc2012": Licence(
        "PASCAL VOC 2012",
        "other",
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
        "Images under the terms of Flickr; further annotations under those of the Semantic Boundaries Dataset.",
    ),
}
"""By the name of the data set in a recipe, or what it begins with."""


def licence_of(data: str) -> Licence:
    """The terms of a recipe's data set; those of a user's own data are not known here."""
    for name, licence in LICENCES.items():
        if data == name or data.startswith(f"{name}_"):
            return licence
    return Licence(
        data.rpartition(":")[2],
        "other",
        None,
        "Data of the publisher's own: ask who published these weights for its terms.",
    )
