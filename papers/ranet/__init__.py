"""RANet: Region Attention Network for Semantic Segmentation (Shen, Ji, Li, Wang, Lin, NeurIPS 2020)."""
