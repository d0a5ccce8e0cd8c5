"""PDANet: Pyramid Dual Attention Network for Scene Segmentation (Guoqiang Liu, Zhejiang University, 2019)."""
