"""SANet: Squeeze-and-Attention Networks for Semantic Segmentation (Zhong et al., CVPR 2020, arXiv:1909.03402)."""

from papers.sanet.model import Architecture, SANet

__all__ = ["Architecture", "SANet"]
