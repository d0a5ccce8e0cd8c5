"""RANet: Region Attention Network for Semantic Segmentation (Shen, Ji, Li, Wang, Lin, NeurIPS 2020)."""

from papers.ranet.model import Architecture, RANet

__all__ = ["Architecture", "RANet"]
