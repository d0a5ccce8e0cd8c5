"""DF-DAM: Differentiating Features for Scene Segmentation (Xiong et al., arXiv:1911.08149)."""

from papers.dfdam.model import DFDAM, Architecture

__all__ = ["DFDAM", "Architecture"]
