"""DANet: Dual Attention Network for Scene Segmentation (Fu et al., CVPR 2019, arXiv:1809.02983)."""

from papers.danet.model import Architecture, DANet

__all__ = ["Architecture", "DANet"]
