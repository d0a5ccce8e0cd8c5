"""DANet: Dual Attention Network for Scene Segmentation (Fu et al., CVPR 2019, arXiv:1809.02983)."""
