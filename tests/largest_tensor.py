"""How large the tensors of a computation are, for the tests that no table of all pairs is kept."""

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class LargestTensor(TorchDispatchMode):
    """Remembers the most entries of any tensor that an operator returned or filled."""

    def __init__(self) -> None:
        super().__init__()
        self.entries = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        for x in result if isinstance(result, tuple | list) else [result]:
            if isinstance(x, Tensor):
                self.entries = max(self.entries, x.numel(), x.untyped_storage().nbytes() // x.element_size())
        return result
