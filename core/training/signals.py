"""Stopping when asked: a signal ends a run after its step, with a state from which the same command goes on."""

import signal
import time
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator

from core import machine

AT_ONCE = 2.0
"""Seconds in which a repeated signal counts as one: a terminal and a launcher may both pass the same key on."""


class Signals:
    """Notes the signals of `machine.ASKED` while it is entered; a second one, later than `AT_ONCE`, ends the process.

    The processes of a run agree through a group of their own on the CPU, so no GPU is waited for. It also notices a
    process that is gone: the others then end with an error after this step, where NCCL alone would wait for its
    time-out. One that no longer answers, though its connection stands, is waited for as long as `core.machine.LOST`.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.received, self.since, self.saving = 0, 0.0, True
        self.usual: dict[int, Any] = {}
        several = accelerator.num_processes > 1
        self.group: Any = torch.distributed.new_group(backend="gloo", timeout=machine.LOST) if several else None

    def __enter__(self) -> "Signals":
        self.usual = {number: signal.signal(number, self._note) for number in machine.ASKED}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.usual.items():
            signal.signal(number, handler)

    def agreed(self) -> int:
        """The signal that any process of the run was sent, the same on all; 0 if none was. All must ask together."""
        if self.group is None:
            return self.received
        number = torch.tensor(self.received)
        torch.distributed.all_reduce(number, torch.distributed.ReduceOp.MAX, group=self.group)
        return int(number)

    def nothing_to_save(self) -> None:
        """From now on the first signal ends the process at once: all that can be saved is saved."""
        self.saving = False
        if self.received:
            raise SystemExit(128 + self.received)

    def _note(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self.received and self.saving:
            self.received, self.since = number, now
        elif not self.saving:
            raise SystemExit(128 + number)
        elif now - self.since > AT_ONCE:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
