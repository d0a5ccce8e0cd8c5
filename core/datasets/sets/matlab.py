"""Labels that were published as MATLAB files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io


def read_field(file: Path, fields: Sequence[str]) -> np.ndarray:
    """Read an array of whole numbers h w from a .mat file (up to version 7.2).

    Args:
        file: the file.
        fields: the variable, and if it is a struct the field in it, e.g. ("GTcls", "Segmentation").

    Raises:
        ValueError: if the file can't be read, or holds no such array; naming the file is left to the caller.
    """
    if not file.is_file():
        raise ValueError(f"there is no file {file}")
    try:
        value: Any = scipy.io.loadmat(file, squeeze_me=True, struct_as_record=False, variable_names=[fields[0]])
    except Exception as error:  # scipy has no one kind for a damaged file
        raise ValueError(f"can't be read as a .mat file ({error}); fetch it again") from error
    for name in fields:
        value = value.get(name) if isinstance(value, dict) else getattr(value, name, None)
    if not isinstance(value, np.ndarray) or value.ndim != 2 or not np.array_equal(value, value.astype(np.int64)):
        raise ValueError(f"holds no image of whole numbers in {'.'.join(fields)}; fetch the file again")
    return value.astype(np.int64)


def small(values: np.ndarray) -> np.ndarray:
    """Labels as 8 bits.

    Raises:
        ValueError: if a value is not 0 to 255.
    """
    if values.min() < 0 or values.max() > 255:
        raise ValueError(f"holds values from {values.min()} to {values.max()}; 0 to 255 are allowed")
    return values.astype(np.uint8)
