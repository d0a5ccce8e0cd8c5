"""A file that runs code when it is unpickled, to prove that nothing unpickles it."""

import os
from pathlib import Path
from typing import Any


class Hostile:
    """Unpickled, it would make a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)
