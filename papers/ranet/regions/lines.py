"""D, the maximum of B along the line between two pixels, on tiles of pairs (`tiles.py`), and its gradient.

A line of length L makes L unit steps along the major axis. Of a pair from (x, y) to (x', y + L) the samples
t = 1 .. L - 1 lie at x + t (x' - x) / L of row y + t, between two neighbours of that row.

Enlarged L times along x, a map has a pixel at each of these places: x (L - t) + x' t of row y + t. For fixed t that is
linear in x, x' and y. So the samples of all pairs of one length are L - 1 strided views of one enlarged map, and their
maximum needs neither indices nor a table of all pairs. A map of 97 x 97, each pair taken once, has 2 billion samples.
"""

import functools

import torch
from torch import Tensor

from papers.ranet.regions.tiles import Tile


class Lines:
    """The lines of one length over maps B (images, x, y), and the gradient of a sum over their maxima.

    Length 1 stands for lines without samples, of whatever tile: D is 0, as between neighbours, and has no gradient.
    """

    def __init__(self, B: Tensor, length: int) -> None:
        self.length, self.height = length, B.shape[2]
        self.mask = 2 ** self.height.bit_length() - 1  # of the bits that hold a row
        self.weights = torch.arange(length, dtype=B.dtype, device=B.device)[:, None] / length
        self.fine = B.new_empty(B.shape[0], (B.shape[1] - 1) * length + 1, B.shape[2])
        between = self.fine[:, :-1].unflatten(1, (-1, length))
        torch.lerp(B[:, :-1, None], B[:, 1:, None], self.weights, out=between)
        self.fine[:, -1] = B[:, -1]

    def maxima(self, tile: Tile) -> Tensor:
        """Return D of each pair of a tile: the maximum of its samples."""
        return self._largest(self.fine, tile)

    def maxima_and_places(self, tile: Tile) -> tuple[Tensor, Tensor]:
        """Return D and where in the enlarged maps, flattened, it was found: at the first of equal samples.

        A sample's bits, as an integer, are made to end in the number of its row, so that one maximum finds both, for no
        sample is negative. Beside a float32 there is room for it; a float64 loses as many bits as the height has, less
        than 1e-13 of itself below 512 rows, and samples that agree in the others count as equal.
        """
        if self.length == 1:
            return self.maxima(tile), torch.zeros((), dtype=torch.int64, device=self.fine.device)
        keys = self._largest(self._keys, tile)
        row = self.mask - (keys & self.mask)
        if self.fine.dtype == torch.float64:
            D = keys.bitwise_and_(~self.mask).view(torch.float64)
        else:
            D = keys.bitwise_right_shift_(self.mask.bit_length()).int().view(torch.float32)
        start, end, y = (torch.arange(s.start, s.stop, device=row.device) for s in (tile.starts, tile.ends, tile.rows))
        column = (end - start[:, None])[..., None] * (row - y) + self.length * start[:, None, None]
        image = torch.arange(len(self.fine), device=row.device)[:, None, None, None] * self.fine[0].numel()
        return D, image + column * self.height + row

    def pull(self, place: Tensor, dD: Tensor) -> None:
        """Take in the gradients for D that was found at some places."""
        if self.length > 1:
            self._sums.scatter_add_(0, place.flatten(), dD.flatten())

    def gradient(self) -> Tensor:
        """Return the gradient for B of all that was pulled: a sample's goes to the two pixels that it lies between."""
        fine = self._sums.view_as(self.fine)
        between = fine[:, :-1].unflatten(1, (-1, self.length))
        dB = fine.new_zeros(fine.shape[0], between.shape[1] + 1, fine.shape[2])
        dB[:, 1:] += (between * self.weights).sum(dim=2)
        dB[:, :-1] += (between * (1 - self.weights)).sum(dim=2)
        dB[:, -1] += fine[:, -1]
        return dB

    @functools.cached_property
    def _sums(self) -> Tensor:
        """The gradient for the enlarged maps, flattened."""
        return torch.zeros_like(self.fine).flatten()

    @functools.cached_property
    def _keys(self) -> Tensor:
        """The enlarged maps' bits, ending in mask - row, so that earlier rows are larger."""
        row = torch.arange(self.height, device=self.fine.device)
        if self.fine.dtype == torch.float64:
            bits = self.fine.view(torch.int64).bitwise_and(~self.mask)
        else:
            bits = self.fine.view(torch.int32).long().bitwise_left_shift_(self.mask.bit_length())
        return bits.bitwise_or_(self.mask - row)

    def _largest(self, fine: Tensor, tile: Tile) -> Tensor:
        """Return the maximum over t of the samples of enlarged maps (images, fine x, y), as (images, x, x', y)."""
        size = tile.size(len(fine))
        largest = fine.new_zeros(size if self.length == 1 else ())
        for t in range(1, self.length):
            first = (self.length - t) * tile.starts.start + t * tile.ends.start
            strides = (fine.stride(0), (self.length - t) * self.height, t * self.height, 1)
            samples = fine.as_strided(size, strides, first * self.height + tile.rows.start + t)
            if t == 1:
                largest = samples.clone(memory_format=torch.contiguous_format)
            else:
                torch.maximum(largest, samples, out=largest)  # Eq. (1)
        return largest
