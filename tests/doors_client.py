"""Somebody who has transformers and not this code, for test_doors.py: doors_client.py PICTURE OUTPUT REPOSITORY...

Each repository is opened in all ways that transformers has, and the lines of cards beside OUTPUT are run. OUTPUT
becomes a safetensors file, and what else was found is printed as JSON; what was trained on is saved beside it.
"""

import functools
import gc
import json
import os
import runpy
import sys
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import Dataset, default_collate
from transformers import (
    AutoImageProcessor,
    AutoModelForSemanticSegmentation,
    Trainer,
    TrainingArguments,
    dynamic_module_utils,
    pipeline,
)


class Refusal:
    """Finds none of our packages, where they are installed too."""

    @staticmethod
    def find_spec(fullname: str, path: object = None, target: object = None) -> None:
        if fullname.split(".")[0] in ("core", "papers", "hub", "ci"):
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


class Pictures(Dataset[dict[str, Tensor]]):
    """Four times the picture, whose classes are stripes."""

    def __init__(self, pixels: Tensor, classes: int) -> None:
        self.pixels = pixels
        self.labels = (torch.arange(pixels.shape[-1]) % classes).repeat(pixels.shape[-2], 1)
        self.labels[:3] = 255

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"pixel_values": self.pixels, "labels": self.labels}


def through_the_pipeline(repository: str, picture: str, width: int, height: int, names: dict[int, str]) -> Tensor:
    """The labels that the masks of a pipeline give; 255 where there is none."""
    segment = pipeline("image-segmentation", model=repository, trust_remote_code=True)
    labels = torch.full((height, width), 255)
    for found in segment(picture):
        mask = torch.frombuffer(bytearray(found["mask"].tobytes()), dtype=torch.uint8).view(height, width)
        labels[mask > 0] = next(label for label, name in names.items() if name == found["label"])
    return labels


def fine_tuned(model: Any, pictures: Pictures, place: str) -> list[float]:
    """The losses of a few steps of the Trainer, then that of its evaluation."""
    chosen = TrainingArguments(
        place,
        max_steps=4,
        per_device_train_batch_size=2,
        learning_rate=2e-3,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = Trainer(model, chosen, train_dataset=pictures, eval_dataset=pictures)
    trainer.train()
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    return [*losses, trainer.evaluate()["eval_loss"]]


def main(picture: str, output: str, *repositories: str) -> None:
    torch.set_num_threads(1)
    gc.freeze()  # the Trainer looks for garbage at its end, also among what is imported
    dynamic_module_utils.get_imports = functools.cache(dynamic_module_utils.get_imports)  # asked for at each opening
    image = Image.open(picture)
    folder = Path(output).parent
    place = str(folder / "trainer")
    tensors, found = {}, {}
    for repository in repositories:
        model = AutoModelForSemanticSegmentation.from_pretrained(repository, trust_remote_code=True)
        processor = AutoImageProcessor.from_pretrained(repository)
        inputs = processor(images=image, return_tensors="pt")
        with torch.no_grad():
            outputs = model(**inputs)
        sizes = [(image.height, image.width)]
        (tensors[f"{repository}.labels"],) = processor.post_process_semantic_segmentation(outputs, target_sizes=sizes)
        tensors[f"{repository}.logits"] = outputs.logits[0]
        names = model.config.id2label
        tensors[f"{repository}.pipeline"] = through_the_pipeline(repository, picture, *image.size, names)
        pictures = Pictures(inputs["pixel_values"][0], len(names))
        torch.manual_seed(0)
        batch = default_collate([pictures[0], pictures[1]])
        loss = model.train()(**batch).loss.item()
        losses = fine_tuned(model, pictures, place)
        other = AutoModelForSemanticSegmentation.from_pretrained(
            repository, trust_remote_code=True, num_labels=3, ignore_mismatched_sizes=True
        )
        with torch.no_grad():
            shape = list(other(**inputs).logits.shape)
            for kind, tuned in (("trained on", model.eval()), ("three classes", other)):
                tuned.save_pretrained(folder / kind / Path(repository).name)
                tensors[f"{repository}.{kind}"] = tuned.network(inputs["pixel_values"]).scores[0]
        again = AutoModelForSemanticSegmentation.from_pretrained(
            folder / "trained on" / Path(repository).name, trust_remote_code=True
        )
        state = model.state_dict()
        found[repository] = {
            "class": type(model).__name__,
            "names": list(names.values()),
            "loss": loss,
            "losses": losses,
            "three classes": shape,
            "saved": all(torch.equal(value, state[name]) for name, value in again.state_dict().items()),
        }
    os.chdir(folder)
    for card in folder.glob("card-*.py"):
        tensors[card.stem] = runpy.run_path(str(card))["labels"]
    save_file({name: value.contiguous() for name, value in tensors.items()}, output)
    assert not {"core", "papers", "hub", "ci"} & set(sys.modules)
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    assert not {"core", "papers", "hub", "ci"} & set(sys.modules)
    sys.meta_path.insert(0, Refusal())  # type: ignore[arg-type]
    main(*sys.argv[1:])
