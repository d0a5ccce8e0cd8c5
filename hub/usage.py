"""How a card tells of using its network: through each of its doors."""

import re

from core.images.bands import example, taken
from hub.doors import folder
from hub.markdown import fence
from hub.publication import ONNX, Publication, clone_address

OURS = """import hub

network = hub.from_pretrained("{repository}")
result = network.predict("{file}")
result.overlay().save("overlay.png")"""

TRANSFORMERS = """from PIL import Image
from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation, pipeline

pipeline("image-segmentation", model="{repository}", trust_remote_code=True)("photo.jpg")  # a mask for each class

model = AutoModelForSemanticSegmentation.from_pretrained("{repository}", trust_remote_code=True)
processor = AutoImageProcessor.from_pretrained("{repository}")
image = Image.open("photo.jpg").convert("RGB")
outputs = model(**processor(images=image, return_tensors="pt"))
(labels,) = processor.post_process_semantic_segmentation(outputs, target_sizes=[(image.height, image.width)])"""

TRANSFORMERS_BANDS = """import numpy as np
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation

model = AutoModelForSemanticSegmentation.from_pretrained("{repository}", trust_remote_code=True)
processor = AutoImageProcessor.from_pretrained("{repository}")
image = {image}
outputs = model(**processor(images=image, input_data_format="channels_last", return_tensors="pt"))
(labels,) = processor.post_process_semantic_segmentation(outputs, target_sizes=[image.shape[:2]])"""

GREY = 'np.array(Image.open("photo.jpg").convert("L"))[..., None]  # h w 1, in 8 bits'
BANDS = 'np.load("image.npy")  # h w {channels}, in 8 bits'

PIPELINE = (
    "The pipeline logs that the model is not supported for image-segmentation: that list has the classes of "
    "transformers itself, and it works."
)
NO_PIPELINE = 'A `pipeline("image-segmentation")` reads red, green and blue alone, so it does not serve this network.'


def usage(publication: Publication) -> list[str]:
    """The paragraphs under "Use". A network without an organisation has no repository, so only our own door."""
    channels = publication.network.in_channels
    told = [
        "## Use",
        fence(OURS.format(repository=publication.repository, file=example(channels)), "python"),
        taken(channels),
        "`result.labels` is the label map, `result.probabilities` how sure it is, `result.classes` the names and "
        f"colours. For files and folders: `python -m hub.predict {publication.repository} IMAGE... --to DIR`. "
        + ("Pin it with `revision=COMMIT`; " if "/" in publication.repository else "")
        + "`verify=True` compares it with its fingerprint. Only safetensors and JSON are read. "
        + where_the_code_is(publication),
    ]
    if "/" not in publication.repository:
        return told
    return [*told, *_transformers(publication), *_files(publication)]


def where_the_code_is(publication: Publication) -> str:
    """How to get the source tree."""
    address, commit = clone_address(), publication.about.commit
    if "/" not in publication.repository:
        return "It is bundled with the source tree (`pip install -e .` there)."
    if address is None:
        return (
            "It needs the source tree of this network (`pip install -e .` there), which had no public address when "
            "this was written: ask its publisher for it, or use one of the other ways."
        )
    pinned = f" && git checkout {commit}" if re.fullmatch("[0-9a-f]{7,40}", commit) else ""
    return "It needs the source tree:\n\n" + fence(
        f"git clone {address} attention-segmentation\ncd attention-segmentation{pinned}\npip install -e .", "bash"
    )


def lines_of_transformers(repository: str, channels: int) -> str:
    """The lines of Python that open a repository with transformers, and find the labels of an image."""
    image = GREY if channels == 1 else BANDS.format(channels=channels)
    return (TRANSFORMERS if channels == 3 else TRANSFORMERS_BANDS).format(repository=repository, image=image)


def _transformers(publication: Publication) -> list[str]:
    (modelling, _) = folder.added(publication.paper)
    channels = publication.network.in_channels
    return [
        "### With transformers, without the source tree",
        fence(lines_of_transformers(publication.repository, channels), "python"),
        f"This executes `{modelling}` of this repository, which needs torch, timm, einops and transformers; read it, "
        "and pin it with `revision=COMMIT`. The labels are those of `predict`: in evaluation mode the model tests an "
        "image by the protocol of the results below, and its `logits` are logarithms of probabilities. "
        "`model.network(pixel_values).scores` are the scores of one look. In training mode, as under a `Trainer`, it "
        "returns the network's scores, and with `labels` (255 is ignored) the loss of the paper. For other classes, "
        "pass `num_labels=N, ignore_mismatched_sizes=True`. What transformers then saves, `hub.from_pretrained` opens "
        "too. " + (PIPELINE if channels == 3 else NO_PIPELINE),
    ]


def _files(publication: Publication) -> list[str]:
    mean, std = publication.network.normalisation.mean, publication.network.normalisation.std
    channels = publication.network.in_channels
    image = (
        "RGB in 0..1" if channels == 3 else f"{channels} channel{'s' * (channels > 1)} in 0..1 (of 8 bits: over 255)"
    )
    told = (
        "`model.safetensors` holds the tensors by name (`safetensors.torch.load_file`), `config.json` the "
        f"architecture, the classes and the normalisation: {image}, less {_numbers(mean)}, over {_numbers(std)}."
    )
    if ONNX in publication.files:
        told += (
            f" `{ONNX}` maps such an `image` (b {channels} h w, float32) to `scores` (b k h w), by any runtime of ONNX."
        )
    return ["### The files alone", told]


def _numbers(values: tuple[float, ...]) -> str:
    return f"({', '.join(f'{value:g}' for value in values)})"
