"""PDANet: Pyramid Dual Attention Network for Scene Segmentation (Guoqiang Liu, Zhejiang University, 2019)."""

from papers.pdanet.model import Architecture, PDANet

__all__ = ["Architecture", "PDANet"]
