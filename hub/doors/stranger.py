"""Open published folders as somebody without this code does: python -I stranger.py PLACE FOLDER...

Run by `hub.doors.check`, in a process of its own that can't import our packages. PLACE holds `pictures.safetensors`
with an 8-bit picture (c h w) for each folder, by its number, and gets `answers.safetensors`:

    pixels.N    1 c h w    what the image processor makes of it
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


def main(place: str, *folders: str) -> None:
    """Answer for each folder."""
    sys.meta_path.insert(0, Refusal())
    import torch
    from safetensors.torch import load_file, save_file
    from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation

    torch.set_num_threads(1)
    pictures, answers = load_file(f"{place}/pictures.safetensors"), {}
    for number, folder in enumerate(folders):
        model = AutoModelForSemanticSegmentation.from_pretrained(folder, trust_remote_code=True)
        for value in (*model.parameters(), *model.buffers()):
            value.data = value.data.clone()  # where it lies in memory decides about kernels, which round otherwise
        processor = AutoImageProcessor.from_pretrained(folder)
        picture = pictures[str(number)]
        pixels = processor(images=picture, input_data_format="channels_first", return_tensors="pt")
        model.protocol = type(model.protocol)()
        with torch.inference_mode():
            outputs = model(**pixels)
            answers[f"scores.{number}"] = model.network(pixels["pixel_values"]).scores
        labels = processor.post_process_semantic_segmentation(outputs, target_sizes=[picture.shape[-2:]])
        answers[f"pixels.{number}"] = pixels["pixel_values"]
        answers[f"labels.{number}"] = labels[0]
    save_file({name: value.contiguous() for name, value in answers.items()}, f"{place}/answers.safetensors")
    assert not set(OURS) & {name.split(".")[0] for name in sys.modules}


if __name__ == "__main__":
    main(*sys.argv[1:])
