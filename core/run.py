"""A run: where and how a recipe is computed, as one frozen value."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from core.errors import require
from core.recipe import Precision
from core.values import Rare

ChannelsLast = Literal["auto", "on", "off"]


WHERE = "run folder, bundled network (danet-tiny-camvid), or org/name on the Hub"
"""What a command takes as weights, in words."""


@dataclass(frozen=True)
class Run:
    """What differs between computers, and changes no reported number beyond rounding.

    `to` holds one folder for each recipe; a run that was stopped goes on when the same command is given again.
    """

    data: Annotated[Path | None, tyro.conf.arg(aliases=["--data"], help="folder of the data set")] = None
    to: Annotated[Path, tyro.conf.arg(aliases=["--to"], help="where the run folder named like the recipe goes")] = Path(
        "runs"
    )
    name: Annotated[str | None, tyro.conf.arg(aliases=["--name"])] = None
    """The run folder's name; None: the recipe's, with a word and digits that say so if anything was changed."""
    backbone_weights: Annotated[
        str | None,
        tyro.conf.arg(
            aliases=["--backbone-weights"],
            help="hub, gluon, none, or a .safetensors / .pth file with torchvision's, timm's or CSAIL's keys; None: as "
            "the recipe says",
        ),
    ] = None
    starts_from: Annotated[
        str | None,
        tyro.conf.arg(
            aliases=["--starts-from"],
            help=f"weights to begin with: {WHERE}; None: the run folder of the recipe's first stage, if it has one",
        ),
    ] = None
    cache: Path | None = None
    """Folder for decoded training images and labels, 4 bytes a pixel, filled in the first epoch; None: decode at each
    look."""
    restart: Annotated[
        bool, tyro.conf.arg(aliases=["--restart"], help="rename an earlier run of this name and start over")
    ] = False
    resume_anyway: Rare[bool] = False
    """Go on with another precision, number of processes or threads, or torch version; the score then says so."""
    seed: int = 0
    """Seed of the order of the images, their augmentation, dropout and untrained weights."""
    workers: int | None = None
    """Processes that load images; None: as many as this process's share of the cores suggests."""
    threads: Rare[int | None] = None
    """CPU threads of a process that trains on a CPU; None: its share of the cores."""
    accumulate: int = 1
    """Parts of a batch computed one after another; BatchNorm then sees the smaller part."""
    recompute: bool = False
    """Compute the backbone's blocks again in the backward pass: less memory, the same numbers."""
    precision: Precision = "fp32"
    """Of products and convolutions; weights and sums stay float32."""
    compile: bool = False
    """Compile the network for training, again at the second size of images; it is tested and saved as it is."""
    cuda_graphs: Rare[bool] = False
    """With compile: replay a step's kernels as one graph; for small networks and a fixed crop."""
    channels_last: Rare[ChannelsLast] = "auto"
    """Use the channels_last memory layout; auto: on a GPU in half precision, where it is faster."""
    deterministic: Rare[bool] = False
    """The same run gives the same weights on one GPU, or an error names what can't; slower."""
    log_every: Rare[int] = 10
    """Steps between lines of metrics.jsonl."""
    save_every: Rare[int] = 200
    """Steps between resumable states."""
    validate_every: int | None = None
    """Epochs between validations; 0: none. None: none for papers' rows, else as costs less than a tenth of the time."""
    validation: Rare[Literal["protocol", "whole"]] = "protocol"
    """Validate with the recipe's own protocol, or cheaper: the whole image once."""
    keep: Literal["last", "best"] | None = None
    """Keep the weights with the best validation mIoU as `best/`, and test these. None: best for own data, else last."""
    patience: int = 0
    """Stop after so many validations in a row without a better one; 0: never."""
    trackers: tuple[Literal["tensorboard", "wandb", "trackio"], ...] = ()
    """Where the curves go too; each must be installed."""

    def __post_init__(self) -> None:
        for name, least in (("accumulate", 1), ("log_every", 1), ("save_every", 1), ("seed", 0)):
            value = getattr(self, name)
            require(value >= least, f"run.{name} must be at least {least}, got {value}")
        require(self.workers is None or self.workers >= 0, f"run.workers must not be negative, got {self.workers}")
        require(
            not self.cuda_graphs or (self.compile and self.accumulate == 1),
            "run.cuda_graphs needs run.compile, and run.accumulate 1: a graph overwrites the gradients of the part "
            f"before; got compile {self.compile} and accumulate {self.accumulate}",
        )
        require(
            not (self.recompute and self.compile),
            "run.recompute and run.compile don't go together: the compiler decides itself what it keeps; leave one out",
        )
        require(self.threads is None or self.threads >= 1, f"run.threads must be at least 1, got {self.threads}")
        require(
            self.validate_every is None or self.validate_every >= 0,
            f"run.validate_every must not be negative, got {self.validate_every}",
        )
        require(self.patience >= 0, f"run.patience must not be negative, got {self.patience}")
        require(
            self.validate_every != 0 or (self.keep != "best" and not self.patience),
            "run.keep best and run.patience need validations; leave out run.validate_every 0",
        )
        require(
            self.name is None or self.name == Path(self.name).name not in ("", ".."),
            f"run.name must be a plain name of a folder below --to, got {self.name!r}",
        )
