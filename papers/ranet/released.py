"""What stands around RANet's regions in its authors' code and not in its text: layers between the steps, and heads.

    X       b c h w    features of the image
    J       b h w      representative scores, from the region construction
    L, G    b c r      features of the representatives, in raster order, padded to the longest list of the batch

Every convolution is followed by batch normalisation and a leaky ReLU of slope 0.01, the default of the library that
the authors' code takes both from.
"""

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from core.errors import refuse_unknown
from papers.ranet.interaction import Representatives, collect, distribute, interact, representatives
from papers.ranet.regions.construction import Kernel, Regions

SLOPE = 0.01


def leaky_convolution(channels: int, width: int) -> nn.Sequential:
    """A 3x3 convolution that keeps the size, without bias; batch normalisation; leaky ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.LeakyReLU(SLOPE)
    )


class ListLayer(nn.Module):
    """A convolution over the list of representatives, laid out as an image of one column; normalisation; leaky ReLU.

    A 3x3 kernel sees three consecutive representatives, whatever their regions; two thirds of its weights meet padding
    only. The statistics are those of all representatives of the batch, without the entries that pad a list.

    Args:
        kernel: 3 as in the authors' code, or 1.
    """

    def __init__(self, channels: int, kernel: Kernel = 3) -> None:
        super().__init__()
        self.convolve = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, bias=False)
        self.normalise = nn.BatchNorm1d(channels)
        self.activate = nn.LeakyReLU(SLOPE)

    def forward(self, L: Float[Tensor, "b c r"], phi: Representatives) -> Float[Tensor, "b c r"]:
        """Return new features of the representatives, and zeros in the padding."""
        convolved = rearrange(self.convolve(rearrange(L, "b c r -> b c r 1")), "b c r 1 -> b r c")
        entries = self.activate(self.normalise(convolved.flatten(0, 1).index_select(0, phi.entries)))
        placed = entries.new_zeros(convolved.shape).flatten(0, 1).index_copy(0, phi.entries, entries)
        return rearrange(placed.view_as(convolved), "b r c -> b c r")


class ReleasedInteraction(nn.Module):
    """The region interaction of the authors' code: three softmaxes over the whole image, with layers between them.

        L_p = V_p + sum_i softmax_i(V_p . (J_i V_i)) V_i                 over all pixels i; then a ListLayer
        G_p = L_p + sum_s softmax_s(L_p . (J_s L_s)) L_s                 over all representatives s; then a ListLayer
        O_i = Q_i + sum_p softmax_p(Q_i . (J_p G_p)) G_p                 over all representatives p; then a convolution

    Q and V are two 3x3 convolutions of X. Regions decide which pixels are representatives, and nothing else.

    Unlike the authors' code, a region of fewer than K pixels does not fill its list with pixels of other regions.

    Args:
        representatives: K, how many pixels represent a region.
        kernel: of the layers over the list of representatives: 3 as released; 1 is nearer to the 21 M of Table 3.

    Raises:
        ValueError: if the kernel is neither, or K is below 1.
    """

    def __init__(self, channels: int, representatives: int = 8, kernel: Kernel = 3) -> None:
        super().__init__()
        refuse_unknown("kernel", kernel, Kernel)
        if representatives < 1:
            raise ValueError(f"each region needs at least one representative, got {representatives}; the paper takes 8")
        self.representatives = representatives
        self.to_query = leaky_convolution(channels, channels)
        self.to_value = leaky_convolution(channels, channels)
        self.after_collection = ListLayer(channels, kernel)
        self.after_interaction = ListLayer(channels, kernel)
        self.after_distribution = leaky_convolution(channels, channels)

    def forward(self, X: Float[Tensor, "b c h w"], regions: Regions) -> Float[Tensor, "b c h w"]:
        """Return O for the features X and the regions of the same images."""
        Q, V = self.to_query(X), self.to_value(X)
        phi = representatives(regions, self.representatives)
        L = self.after_collection(collect(V, regions, phi, "global"), phi)
        G = self.after_interaction(interact(L, regions, phi, "global"), phi)
        return self.after_distribution(distribute(Q, G, regions, phi, "global"))


class ReleasedWithoutRegions(nn.Module):
    """What is left of the released interaction if regions contribute nothing: Q_i, through the last convolution."""

    def __init__(self, interaction: ReleasedInteraction) -> None:
        super().__init__()
        self.to_query, self.after_distribution = interaction.to_query, interaction.after_distribution

    def forward(self, X: Float[Tensor, "b c h w"], regions: Regions | None = None) -> Float[Tensor, "b c h w"]:
        """Return O for the features X; the regions are not looked at."""
        return self.after_distribution(self.to_query(X))


class ReleasedHeads(nn.Module):
    """Boundary and semantic scores from C3: one trunk without activation, then a classifier each."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        width = channels // 2
        self.trunk = nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.Dropout2d(0.1))
        self.boundary = nn.Conv2d(width, 2, kernel_size=1)
        self.semantic = nn.Conv2d(width, num_classes, kernel_size=1)

    def forward(self, features: Float[Tensor, "b f h w"]) -> tuple[Float[Tensor, "b 2 h w"], Float[Tensor, "b k h w"]]:
        """Return both score maps before their softmax."""
        trunk = self.trunk(features)
        return self.boundary(trunk), self.semantic(trunk)
