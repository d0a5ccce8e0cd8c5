"""See what networks see, in a browser: python -m hub.page [WEIGHTS...]

Choose a network, drop a photograph or take a picture that is there, and click a pixel: what does it attend to?
Without WEIGHTS there are the bundled networks. Needs `pip install -e ".[page]"`.

Everything stays on this machine: no telemetry, no fonts or scripts from elsewhere, no address in the open unless
`--share`. Uploads are deleted as soon as they are decoded, and what is shown is kept in memory alone, for a while.
"""

import importlib.util
import os
import signal
import sys
import tempfile
from dataclasses import dataclass
from typing import Annotated

import torch
import tyro

from core import machine
from core.errors import door, require
from core.memory import device_of
from core.networks.repository import shipped
from hub.page.answers import Shelf

SILENT = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}
"""What gradio and the Hub's client read when they are imported: they report nothing."""


@dataclass(frozen=True)
class Options:
    """Which networks to show, and to whom."""

    weights: Annotated[
        tuple[str, ...],
        tyro.conf.Positional,
        tyro.conf.arg(help="run folders or org/name of Hub repositories, beside the networks of this repository"),
    ] = ()
    port: Annotated[int | None, tyro.conf.arg(help="None: the first free one from 7860")] = None
    host: Annotated[str, tyro.conf.arg(help="0.0.0.0 lets others in your network in, such as your phone")] = "127.0.0.1"
    share: Annotated[bool, tyro.conf.arg(help="open the page to the internet, through a server of gradio")] = False
    device: Annotated[str | None, tyro.conf.arg(help="cpu, cuda, cuda:1, mps; None: a GPU if there is one")] = None


def main() -> None:
    """Open the page that the command line says."""
    with door():
        options = tyro.cli(Options, description=__doc__)
        require(
            importlib.util.find_spec("gradio") is not None,
            'the page needs gradio, which is not installed: pip install -e ".[page]"',
        )
        names = (*options.weights, *shipped())
        require(
            bool(names),
            "there is no network to show: name the folder of a run, such as runs/danet-demo; "
            "`python papers/danet/train.py` trains one in a few minutes",
        )
        device = device_of(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
        machine.use_cores(device)
        shelf = Shelf(names, device)
        shelf.network(names[0])  # what is wrong with it is said here and not in the browser
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C, so that the folder goes too
    with tempfile.TemporaryDirectory(prefix="page-") as folder:
        os.environ.update(SILENT, GRADIO_TEMP_DIR=folder)
        from hub.page import blocks  # gradio reads its settings when it is imported

        sys.stdout.write(f"networks: {', '.join(shelf.names)}; Ctrl-C ends the page\n")
        blocks.serve(shelf, options.host, options.port, options.share)


if __name__ == "__main__":
    main()
