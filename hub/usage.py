"""How a card tells of using its network: through each of its doors."""

import re

from hub.doors import folder
from hub.markdown import fence
from hub.publication import ONNX, Publication, clone_address

OURS = """import hub

network = hub.from_pretrained("{repository}")
result = network.predict("photo.jpg")
result.overlay().save("overlay.png")"""

TRANSFORMERS = """from PIL import Image
from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation, pipeline

pipeline("image-segmentation", model="{repository}", trust_remote_code=True)("photo.jpg")  # a mask for each class

model = AutoModelForSemanticSegmentation.from_pretrained("{repository}", trust_remote_code=True)
processor = AutoImageProcessor.from_pretrained("{repository}")
image = Image.open("photo.jpg").convert("RGB")
outputs = model(**processor(images=image, return_tensors="pt"))
(labels,) = processor.post_process_semantic_segmentation(outputs, target_sizes=[(image.height, image.width)])"""


def usage(publication: Publication) -> list[str]:
    """The paragraphs under "Use". A network without an organisation has no repository, so only our own door."""
    told = [
        "## Use",
        fence(OURS.format(repository=publication.repository), "python"),
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
    if address is None:
        return "It needs the source tree of this network (`pip install -e .` there)."
    pinned = f" && git checkout {commit}" if re.fullmatch("[0-9a-f]{7,40}", commit) else ""
    return "It needs the source tree:\n\n" + fence(
        f"git clone {address} attention-segmentation\ncd attention-segmentation{pinned}\npip install -e .", "bash"
    )


def _transformers(publication: Publication) -> list[str]:
    (modelling, _) = folder.added(publication.paper)
    return [
        "### With transformers, without the source tree",
        fence(TRANSFORMERS.format(repository=publication.repository), "python"),
        f"This executes `{modelling}` of this repository, which needs torch, timm, einops and transformers; read it, "
        "and pin it with `revision=COMMIT`. The labels are those of `predict`: in evaluation mode the model tests an "
        "image by the protocol of the results below, and its `logits` are logarithms of probabilities. "
        "`model.network(pixel_values).scores` are the scores of one look. In training mode, as under a `Trainer`, it "
        "returns the network's scores, and with `labels` (255 is ignored) the loss of the paper. For other classes, "
        "pass `num_labels=N, ignore_mismatched_sizes=True`. The pipeline logs that the model is not supported for "
        "image-segmentation: that list has the classes of transformers itself, and it works.",
    ]


def _files(publication: Publication) -> list[str]:
    mean, std = publication.network.normalisation.mean, publication.network.normalisation.std
    told = (
        "`model.safetensors` holds the tensors by name (`safetensors.torch.load_file`), `config.json` the "
        f"architecture, the classes and the normalisation: RGB in 0..1, less {_numbers(mean)}, over {_numbers(std)}."
    )
    if ONNX in publication.files:
        told += f" `{ONNX}` maps such an `image` (b 3 h w, float32) to `scores` (b k h w), by any runtime of ONNX."
    return ["### The files alone", told]


def _numbers(values: tuple[float, ...]) -> str:
    return f"({', '.join(f'{value:g}' for value in values)})"
