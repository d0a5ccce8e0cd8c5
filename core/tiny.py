"""The conditions of the networks that come with the repository, the same for all papers."""

from core.recipe import AnyArchitecture, Augmentation, Data, Optimisation, Protocol, Recipe

CAMVID = Data("camvid", num_classes=11, test="test")


def tiny(name: str, what: str, architecture: AnyArchitecture, rate: float) -> Recipe[AnyArchitecture]:
    """Ours: fewer than a million weights, trained from scratch, so that they carry no licence but that of CamVid.

    The rate is 0.15 with one loss, and 0.05 where the gradients of several add up.
    """
    return Recipe(
        name=name,
        summary=f"ours: CamVid from scratch, {what}, under a million weights",
        architecture=architecture,
        data=CAMVID,
        augmentation=Augmentation(crop=320, scale=(0.75, 2.0), brightness=0.2),
        optimisation=Optimisation(rate, batch=12, length=120, weight_decay=5e-4, ema=0.99),
        protocol=Protocol(),
        backbone_weights="none",
    )
