"""DF-DAM: Differentiating Features for Scene Segmentation (Xiong et al., arXiv:1911.08149)."""
