"""Open published folders as somebody without this code does: python -I stranger.py PICTURE OUTPUT FOLDER...

Run by `hub.doors.check`, in a process of its own that can't import our packages. OUTPUT becomes a safetensors file; of
each folder, by its number:

    pixels.N    1 3 h w    what the image processor makes of PICTURE
    scores.N    1 k h w    what the network answers
    labels.N    h w        what the model and the image processor make of the picture, tested as a whole
"""

import importlib.abc
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

OURS = ("core", "papers", "hub", "ci")


class Refusal(importlib.abc.MetaPathFinder):
    """Finds none of our packages, where they are installed too."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return None to ask the next finder.

        Raises:
            ModuleNotFoundError: for a package of ours.
        """
        if fullname.split(".")[0] in OURS:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return None


def main(picture: str, output: str, *folders: str) -> None:
    """Answer for each folder."""
    sys.meta_path.insert(0, Refusal())
    import torch
    from PIL import Image
    from safetensors.torch import save_file
    from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation

    torch.set_num_threads(1)
    image = Image.open(picture)
    answers = {}
    for number, folder in enumerate(folders):
        model = AutoModelForSemanticSegmentation.from_pretrained(folder, trust_remote_code=True)
        for value in (*model.parameters(), *model.buffers()):
            value.data = value.data.clone()  # where it lies in memory decides about kernels, which round otherwise
        processor = AutoImageProcessor.from_pretrained(folder)
        pixels = processor(images=image, return_tensors="pt")
        model.protocol = type(model.protocol)()
        with torch.inference_mode():
            outputs = model(**pixels)
            answers[f"scores.{number}"] = model.network(pixels["pixel_values"]).scores
        labels = processor.post_process_semantic_segmentation(outputs, target_sizes=[(image.height, image.width)])
        answers[f"pixels.{number}"] = pixels["pixel_values"]
        answers[f"labels.{number}"] = labels[0]
    save_file({name: value.contiguous() for name, value in answers.items()}, output)
    assert not set(OURS) & {name.split(".")[0] for name in sys.modules}


if __name__ == "__main__":
    main(*sys.argv[1:])
