"""From what a run goes on, and whether it may: what decided the result so far must be what decides the rest."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from core.run import Run
from core.training import checkpoint
from core.training.folder import PREVIOUS, STATE, refuse_other_files
from core.values import differences


@dataclass
class Progress:
    """How far a run has come.

    Attributes:
        step: the steps that are done.
        seconds: the training time of earlier commands.
        best: the best validation mIoU so far in percent, and its step; None before the first validation.
        behind: how many validations in a row were no better.
        ended: whether patience ended the run.
    """

    step: int = 0
    seconds: float = 0.0
    best: tuple[float, int] | None = None
    behind: int = 0
    ended: bool = False

    @classmethod
    def of(cls, state: dict[str, Any] | None) -> "Progress":
        """Where a state stands; the beginning without one."""
        if state is None:
            return cls()
        best = state["best"]
        return cls(state["step"], state["seconds"], best and (best[0], best[1]), state["behind"], state["ended"])


def circumstances(run: Run, accelerator: Accelerator) -> dict[str, Any]:
    """What moves a result beyond the recipe, though it should not decide it: a run that changes it is another run."""
    device = accelerator.device
    return {
        "device": device.type,
        "precision": run.precision,
        "processes": accelerator.num_processes,
        "threads": torch.get_num_threads() if device.type == "cpu" else None,
        "torch": str(torch.__version__),
        "compile": run.compile,
        "channels_last": run.channels_last,
    }


def resumable(folder: Path, decides: dict[str, Any], around: dict[str, Any], anyway: bool) -> dict[str, Any] | None:
    """The state from which a stopped run goes on; None if it was stopped before its first, or there is no run.

    Args:
        folder: of the run.
        decides: what must be as it was.
        around: the circumstances, which must be too, unless `anyway`; "resumed" then lists what changed.
        anyway: `--run.resume-anyway`.

    Raises:
        ValueError: if the folder is another run's or nobody's, or its states are damaged.
    """
    if not any((folder / name).is_file() for name in (STATE, PREVIOUS)):
        refuse_other_files(folder)
        return None
    state = _latest(folder)
    if not {*decides, "around", "changed", "resumed"} <= state.keys():
        raise ValueError(
            f"{folder / STATE} was not written by this training loop; pass --restart to rename the folder and start "
            "over, or another --name or --to"
        )
    changed = differences({name: state[name] for name in decides}, decides)
    if changed:
        raise ValueError(
            f"{folder} holds another run ({_listed(changed)}); give the same command to go on with it, --restart to "
            "rename it and start over, or another --name or --to"
        )
    moved = differences(state["around"], around)
    if moved and not anyway:
        raise ValueError(
            f"{folder} was trained in other circumstances ({_listed(moved)}), so the rest would not be the same run; "
            "go on as it was, or pass --run.resume-anyway, and the score will say so"
        )
    if moved:
        state["resumed"] = [*state["resumed"], {"step": state["step"], "changed": moved}]
    return state


def _listed(changes: dict[str, tuple[Any, Any]]) -> str:
    return "; ".join(f"{name}: {old} -> {new}" for name, (old, new) in changes.items())


def _latest(folder: Path) -> dict[str, Any]:
    """The newest whole state; "damaged" is the sentence about one that had to be passed over, or None."""
    if not (folder / STATE).is_file():  # a kill between two renames
        return {**checkpoint.load_state(folder / PREVIOUS), "damaged": None}
    try:
        return {**checkpoint.load_state(folder / STATE), "damaged": None}
    except ValueError as error:
        if not (folder / PREVIOUS).is_file():
            raise
        state = checkpoint.load_state(folder / PREVIOUS)
        return {**state, "damaged": f"{error}. Going on from the state before it"}


def diverged(what: str, folder: Path) -> FloatingPointError:
    """The error of a run whose numbers are no longer finite: what is not, from where to go on, and what to do."""
    good = folder / STATE
    last = f"the last good state is {good}" if good.is_file() else f"no state was saved in {folder} yet"
    return FloatingPointError(
        f"{what}; {last}. Lower --recipe.optimisation.learning-rate; in bf16 and fp16 also try --run.precision fp32"
    )


def save(folder: Path, learnt: dict[str, Any], progress: Progress, seconds: float, rest: dict[str, Any]) -> None:
    """Write a state, if all its numbers are finite; the one before is kept.

    Raises:
        FloatingPointError: naming what is not finite; no file is touched.
    """
    kinds = {"network": "weights", "optimiser": "momentum", "average": "averaged weights"}
    for part, kind in kinds.items():
        if broken := checkpoint.not_finite(learnt[part]):
            raise diverged(f"the {kind} are not finite after step {progress.step}: {broken}", folder)
    state = {
        **learnt,
        "step": progress.step,
        "seconds": seconds,
        "best": progress.best,
        "behind": progress.behind,
        "ended": progress.ended,
        **rest,
    }
    checkpoint.save_state(folder / STATE, state, folder / PREVIOUS)
