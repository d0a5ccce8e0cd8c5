"""What recipes of several papers share: the data sets, and our own trainings on CamVid and on drawn pictures."""

from dataclasses import replace

from core.recipe import AnyArchitecture, Augmentation, Data, Optimisation, Protocol, Recipe

CITYSCAPES = Data("cityscapes", num_classes=19)
PASCAL_CONTEXT = Data("pascal_context", num_classes=60)
PASCAL_CONTEXT_59 = Data("pascal_context_59", num_classes=59)
COCO_STUFF = Data("coco_stuff10k", num_classes=171, validation="test", test="test")
ADE20K = Data("ade20k", num_classes=150)
VOC = Data("voc2012", num_classes=21)
CAMVID = Data("camvid", num_classes=11, test="test")
SCENES = Data("scenes", num_classes=10)
BEACONS = Data("beacons", num_classes=4)


def camvid(
    name: str, what: str, architecture: AnyArchitecture, optimisation: Optimisation, augmentation: Augmentation
) -> Recipe[AnyArchitecture]:
    """Ours: CamVid at the size of its frames, in batches of 8 for 120 epochs.

    Args:
        name: of the recipe.
        what: the network, in the summary.
        architecture: the network.
        optimisation: that of the paper; batch and length are replaced.
        augmentation: that of the paper; crops have 360 pixels.
    """
    return Recipe(
        name=name,
        summary=f"ours: CamVid, {what}",
        architecture=architecture,
        data=CAMVID,
        augmentation=replace(augmentation, crop=360, base=None),
        optimisation=replace(optimisation, batch=8, length=120, unit="epochs"),
        protocol=Protocol(),
    )


def small(recipe: Recipe[AnyArchitecture], epochs: int, crop: int = 240) -> Recipe[AnyArchitecture]:
    """Ours: a training on CamVid at two thirds of its size for so many epochs, so that two CPU cores can do it."""
    return replace(
        recipe,
        name=recipe.name.replace("camvid", "camvid-small"),
        summary=f"{recipe.summary}, reduced for a CPU",
        augmentation=replace(recipe.augmentation, crop=crop, base=240),
        optimisation=replace(recipe.optimisation, length=epochs),
        protocol=Protocol(base=320),
    )


def tiny(name: str, what: str, architecture: AnyArchitecture, rate: float) -> Recipe[AnyArchitecture]:
    """Ours: fewer than a million weights, trained from scratch, so that they carry no licence but that of CamVid.

    The rate is 0.15 with one loss, and 0.05 where the gradients of several add up. Photographs larger than those of
    CamVid are reduced to the size it has learned at: of larger ones it sees too little at once.
    """
    return Recipe(
        name=name,
        summary=f"ours: CamVid from scratch, {what}, under a million weights",
        architecture=architecture,
        data=CAMVID,
        augmentation=Augmentation(crop=320, scale=(0.75, 2.0), brightness=0.2),
        optimisation=Optimisation(rate, batch=12, length=120, weight_decay=5e-4, ema=0.99),
        protocol=Protocol(limit=480),
        backbone_weights="none",
    )


Ladder = tuple[Recipe[AnyArchitecture], Recipe[AnyArchitecture]]
"""A network, and the same without the modules of the paper."""


def demo(
    name: str,
    network: tuple[str, AnyArchitecture],
    without: tuple[str, str, AnyArchitecture],
    rate: float,
    *,
    crop: int = 128,
    base: int | None = 192,
    epochs: int = 40,
) -> Ladder[AnyArchitecture]:
    """Ours: what runs without an argument, in a few minutes, and the same network without the modules of the paper.

    Args:
        name: of the demo.
        network: what it is called, and the network.
        without: a suffix of the name, what it is called, and the network without the modules.
        rate: the learning rate.
        crop: of training images.
        base: the short side of training images and the long one of tested ones; None: their own.
        epochs: of the training.
    """
    seen = Augmentation(crop=crop, base=base, scale=(0.75, 1.5), brightness=0.2)
    optimisation, protocol = Optimisation(rate, batch=16, length=epochs), Protocol(base=base, flip=True)
    recipe, plain = _ladder(name, network, without, "embedded scenes", SCENES, seen, optimisation, protocol)
    return replace(recipe, summary=f"{recipe.summary}, minutes on two cores"), plain


def beacons(
    name: str,
    network: tuple[str, AnyArchitecture],
    without: tuple[str, str, AnyArchitecture],
    rate: float,
    *,
    epochs: int = 40,
) -> Ladder[AnyArchitecture]:
    """Ours: the networks of a demo on pictures that only far context tells apart (`core.datasets.sets.beacons`).

    The arguments are those of `demo`.
    """
    place, optimisation = "embedded pictures that ask for context", Optimisation(rate, batch=16, length=epochs)
    return _ladder(name, network, without, place, BEACONS, Augmentation(crop=None), optimisation, Protocol())


def _ladder(
    name: str,
    network: tuple[str, AnyArchitecture],
    without: tuple[str, str, AnyArchitecture],
    place: str,
    data: Data,
    augmentation: Augmentation,
    optimisation: Optimisation,
    protocol: Protocol,
) -> Ladder[AnyArchitecture]:
    title, architecture = network
    suffix, baseline, plain = without
    recipe = Recipe(
        name=name,
        summary=f"ours: {place}, a tiny {title}",
        architecture=architecture,
        data=data,
        augmentation=augmentation,
        optimisation=optimisation,
        protocol=protocol,
        backbone_weights="none",
    )
    summary = f"ours: {place}, a tiny {baseline}: without the modules of the paper"
    return recipe, replace(recipe, name=f"{name}-{suffix}", summary=summary, architecture=plain)
