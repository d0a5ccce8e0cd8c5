"""E, how differently two pixels are classified, on tiles of pairs (`tiles.py`), and its gradient.

C    images, k, x, y      class probabilities
E    images, x, x', y     of a pair of pixels, computed when it is needed and never kept

Both classes have the same three methods: `tile` returns E_ij and E_ji of each pair, where i is its start and j its end;
`pull` takes in the gradients for both and returns what `tile` does; `gradient` returns that for C of all that was
pulled.
"""

import torch
from torch import Tensor

from papers.ranet.regions.tiles import Tile, wide

SMALLEST_PROBABILITY = 1e-12  # below, the logarithm's slope is cut off: it is infinite at 0
SUMMED_AT_ONCE = 16  # classes; sums of sums round less than one long sum


class JensenShannon:
    """The Jensen-Shannon divergence over all classes, in bits: symmetric, from 0 to 1.

        E_ij = 1/2 sum_n (C_in log2(C_in / U_ijn) + C_jn log2(C_jn / U_ijn)),  U = (C_i + C_j) / 2      Eq. (2)

    With S = C_i + C_j, it is e_i + e_j - 1/2 sum_n S_n log2 S_n, where e = 1/2 sum_n C_n (1 + log2 C_n): one logarithm
    for each pair and class. The gradient for C_in is 1/2 (log2(2 C_in) - log2 S_n).

    In float32 it is right to 1e-6 with 19 classes and to 2e-6 with 171. Without the semantic map all pixels surely are
    of one class, so that E and its gradient are exactly 0.
    """

    def __init__(self, C: Tensor, semantic: bool = True) -> None:
        C = C if semantic else torch.ones_like(C[:, :1])
        self.kept = (C >= SMALLEST_PROBABILITY) & semantic
        self.C = C.clamp(min=SMALLEST_PROBABILITY)
        exact = self.C.to(wide(C))
        self.own = (exact * (1 + exact.log2())).sum(dim=1).div(2).to(C.dtype)
        self.total = torch.zeros_like(self.own, dtype=wide(C))  # sum_j dE_ij
        self.shared = torch.zeros_like(self.C, dtype=wide(C))  # sum_j dE_ij log2 S_ijn

    def tile(self, tile: Tile) -> tuple[Tensor, Tensor]:
        """Return E of each pair, twice: one tensor."""
        return self._walk(tile, None)

    def pull(self, tile: Tile, dE: Tensor, reverse: Tensor) -> tuple[Tensor, Tensor]:
        """Add what depends on pairs to the sums over j, for both pixels of each pair, and return E, twice."""
        dE = dE + reverse
        tile.add(self.total, dE, dE)
        return self._walk(tile, dE)

    def gradient(self) -> Tensor:
        """Return the gradient for C."""
        dC = ((2 * self.C).log2() * self.total[:, None] - self.shared) / 2
        return dC.to(self.C.dtype) * self.kept

    def _walk(self, tile: Tile, dE: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return E of each pair, twice; with gradients, add to the sums of each class on the way."""
        start, end = tile.start(self.C), tile.end(self.C)
        S = torch.empty(tile.size(len(self.C)), dtype=self.C.dtype, device=self.C.device)
        logarithm, part, sums = torch.empty_like(S), torch.zeros_like(S), torch.zeros_like(S)
        for n in range(self.C.shape[1]):
            if n % SUMMED_AT_ONCE == 0:
                sums += part
                part.zero_()
            torch.add(start[:, n], end[:, n], out=S)
            torch.log2(S, out=logarithm)
            part.addcmul_(S, logarithm)
            if dE is not None:
                logarithm *= dE
                tile.add(self.shared[:, n], logarithm, logarithm)
        E = torch.sub(tile.start(self.own) + tile.end(self.own), sums + part, alpha=0.5)  # Eq. (2)
        E.clamp_(0, 1)  # against rounding
        return E, E


class TopClass:
    """The divergence that the authors' code computes: "the top class of the start, or not", in nats.

    With c the top class of pixel i, p = C_i[c] and q = C_j[c], both cut to 0.001 .. 0.99, and m = (p + q) / 2:

        E_ij = 1/2 (p ln(p/m) + (1-p) ln((1-p)/(1-m)) + q ln(q/m) + (1-q) ln((1-q)/(1-m)))

    It is not symmetric and never above 0.661. Unlike that code's, the gradient is that of this function: dE/dp is
    1/2 ln(p (1-m) / (m (1-p))), and 0 where p was cut.
    """

    LOWEST, HIGHEST = 0.001, 0.99

    def __init__(self, C: Tensor) -> None:
        self.kept = (C >= self.LOWEST) & (C <= self.HIGHEST)
        self.C = C.clamp(self.LOWEST, self.HIGHEST).contiguous()
        self.top = C.argmax(dim=1, keepdim=True)
        self.p = self.C.gather(1, self.top)[:, 0]
        pixels = C.shape[2] * C.shape[3]
        self.pixel = torch.arange(pixels, device=C.device).view(C.shape[2:])
        first = torch.arange(C.shape[0], device=C.device)[:, None, None] * C.shape[1]
        self.plane = (first + self.top[:, 0]) * pixels  # where in C the probabilities of a pixel's top class begin
        self.dC = torch.zeros_like(self.C)
        self.dp = torch.zeros_like(self.p, dtype=wide(C))

    def tile(self, tile: Tile) -> tuple[Tensor, Tensor]:
        """Return E_ij and E_ji of each pair."""
        of_end, of_start = self._others(tile)
        E = self._divergence(tile.start(self.p), self.C.take(of_end))
        return E, self._divergence(tile.end(self.p), self.C.take(of_start))

    def pull(self, tile: Tile, dE: Tensor, reverse: Tensor) -> tuple[Tensor, Tensor]:
        """Add the gradients for p and for q, of E_ij and of E_ji, and return both."""
        of_end, of_start = self._others(tile)
        E, dp = self._pull(tile.start(self.p), of_end, dE)
        E_reverse, dp_reverse = self._pull(tile.end(self.p), of_start, reverse)
        tile.add(self.dp, dp, dp_reverse)
        return E, E_reverse

    def gradient(self) -> Tensor:
        """Return the gradient for C."""
        return self.dC.scatter_add(1, self.top, self.dp[:, None].to(self.C.dtype)) * self.kept

    def _others(self, tile: Tile) -> tuple[Tensor, Tensor]:
        """Return where in C the end's probability of the start's top class is, and the start's of the end's."""
        return tile.start(self.plane) + tile.end(self.pixel), tile.end(self.plane) + tile.start(self.pixel)

    def _divergence(self, p: Tensor, q: Tensor) -> Tensor:
        """Return E of two probabilities of one class."""
        m = (p + q) / 2
        entropy = p * p.log() + (1 - p) * (1 - p).log() + q * q.log() + (1 - q) * (1 - q).log()
        E = entropy / 2 - m * m.log() - (1 - m) * (1 - m).log()  # Eq. (2)
        return E.clamp_(min=0)  # against rounding

    def _pull(self, p: Tensor, place: Tensor, dE: Tensor) -> tuple[Tensor, Tensor]:
        """Add the gradient for q, which stands at a place in C, and return E and the gradient for p."""
        q = self.C.take(place)
        m = (p + q) / 2
        odds = (1 - m) / m
        dq = (q / (1 - q) * odds).log() * dE / 2
        self.dC.view(-1).scatter_add_(0, place.flatten(), dq.flatten())
        return self._divergence(p, q), (p / (1 - p) * odds).log() * dE / 2
