"""The data sets from the command line.

python -m core.datasets list                            what can be read, and where to download it
python -m core.datasets check NAME DIR                  is it complete and right? ends with "ready", or says what is not
python -m core.datasets prepare NAME DIR [--to DIR]     converts labels that need decoding, once
python -m core.datasets push NAME DIR --repo ORG/NAME   to the Hugging Face Hub, as parquet
python -m core.datasets submission NAME DIR --data DATA     is a folder what the evaluation server takes?
"""

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from core import datasets
from core.datasets import check as inspection
from core.datasets import prepare as conversion
from core.datasets import servers
from core.errors import door
from core.files import make_folder, refuse_no_picture, said_if_unwritable

Name = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME", help="as in `list`, or hub:org/name")]
Folder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR", help="the folder of the data set")]
WITHOUT = ", ".join(dataset.name for dataset in datasets.DATASETS if not dataset.in_folder)
AnyFolder = Annotated[
    Path | None,
    tyro.conf.Positional,
    tyro.conf.arg(metavar="[DIR]", help=f"the folder of the data set; none for {WITHOUT} and the Hub"),
]
Processes = Annotated[
    int | None, tyro.conf.arg(help="how many work side by side; 0: none beside this one; None: one for each core")
]


def say(text: str) -> None:
    """Write to standard output."""
    sys.stdout.write(f"{text}\n")


def list_() -> int:
    """What can be read, by name: images of each split, what `prepare` is for, and where to download it."""
    for dataset in datasets.DATASETS:
        say(f"{dataset.name}: {dataset.summary}")
        if dataset.counts:
            images = (f"{split} {' or '.join(map(str, counts)) or '?'}" for split, counts in dataset.counts.items())
            say(f"    {', '.join(images)}")
        if dataset.to_prepare:
            say(f"    prepare: {dataset.to_prepare}")
        say(f"    {dataset.source}")
    say("hub:org/name: a data set of the Hugging Face Hub with columns image and labels; stream:org/name: row by row")
    return 0


def check(
    name: Name,
    folder: AnyFolder = None,
    /,
    *,
    splits: Annotated[tuple[str, ...], tyro.conf.arg(help="those that are needed; none: all that are published")] = (),
    sheet: Annotated[Path | None, tyro.conf.arg(help="the contact sheet; None: runs/check-NAME.png")] = None,
    processes: Processes = None,
) -> int:
    """Look at every file: layout, counts, sizes, values. Ends with "ready", or with what is missing and where it is."""
    with door():
        if sheet is not None:
            refuse_no_picture(sheet, "--sheet")
        report = inspection.inspect(_found(name, folder), folder, splits, processes)
        picture = inspection.sheet(report)
    file = sheet or Path("runs") / f"check-{Path(name.partition(':')[2] or name).name}.png"
    if picture is None:
        file.unlink(missing_ok=True)  # it would be of an earlier call
    else:
        with door(), said_if_unwritable(file):
            make_folder(file.parent)
            picture.save(file)
        say(f"contact sheet: {file}")
    say(report.text())
    return 0 if report.ready else 1


def prepare(
    name: Name,
    folder: Folder,
    /,
    *,
    to: Annotated[Path | None, tyro.conf.arg(help="where; None: prepared-NAME in the data set's own folder")] = None,
    processes: Processes = None,
) -> int:
    """Convert labels that need decoding to PNG files, once; after a kill, the same command goes on."""
    with door():
        dataset = _found(name, folder)
        if dataset.plan is None:
            say(f"the labels of {name!r} are read as they are; there is nothing to prepare")
            return 0
        plan = dataset.plan(folder)
        problems = conversion.prepare(plan, to, processes)
    place = to or conversion.folder_for(plan.home, plan.name)
    for problem in problems:
        say(f"wrong: {problem}")
    if problems:
        say(f"not ready: {len(problems)} files can't be used; fetch them again, and run the same command")
        return 1
    named = folder if to is None and plan.found else place
    say(f"ready: {place}; pass --data {named}, or `check {name} {named}` first")
    return 0


def push(
    name: Name,
    folder: AnyFolder = None,
    /,
    *,
    repo: Annotated[str | None, tyro.conf.arg(help="org/name on the Hub; None: only write --to")] = None,
    to: Annotated[
        Path | None, tyro.conf.arg(help="keep the parquet files there; None: only until they are sent")
    ] = None,
    splits: Annotated[tuple[str, ...], tyro.conf.arg(help="which; none: train and val")] = ("train", "val"),
    public: Annotated[bool, tyro.conf.arg(help="let everybody see it; most data sets do not permit that")] = False,
) -> int:
    """Write splits as parquet, with images as they are and labels as classes, and send them to the Hugging Face Hub."""
    with door(), tempfile.TemporaryDirectory() as aside:
        dataset = _found(name, folder)
        if repo is None and to is None:
            raise ValueError(
                "pass --repo ORG/NAME to send the data set to the Hub, --to DIR to keep its files, or both"
            )
        place = to or Path(aside) / "parquet"
        from core.datasets import push as publication  # it loads the package `datasets`

        publication.write({split: dataset.open(folder, split) for split in splits}, place, dataset.summary)
        if to is not None:
            say(f"wrote {to}; --dataset hub:{to} reads it")
        if repo is not None:
            say(f"sent to {publication.upload(place, repo, private=not public)}; --dataset hub:{repo} reads it")
    return 0


def submission(
    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME", help=", ".join(servers.served()))],
    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR", help="the submission")],
    /,
    *,
    data: Annotated[Path, tyro.conf.arg(help="folder of the data set: names and sizes are those of its images")],
    split: str = servers.TEST,
) -> int:
    """Check a folder before it is uploaded to an evaluation server."""
    with door():
        servers.server_of(name)
        found = servers.expected(name, split, datasets.read(name, data, split), folder)
        found.check()
        say(servers.ready(found))
    return 0


def _found(name: str, folder: Path | None) -> datasets.DataSet:
    """The data set, its folder looked at before anything is done."""
    dataset = datasets.find(name)
    dataset.refuse_wrong_folder(folder)
    return dataset


def main(arguments: Sequence[str]) -> int:
    """Run a command and return its exit status: 0 if all is well, 1 if the data is not ready, 2 for wrong input."""
    commands: dict[str, Callable[..., Any]] = {
        "list": list_,
        "check": check,
        "prepare": prepare,
        "push": push,
        "submission": submission,
    }
    status: int = tyro.extras.subcommand_cli_from_dict(
        commands, prog="python -m core.datasets", description=(__doc__ or "").partition("\n")[0], args=arguments
    )
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
