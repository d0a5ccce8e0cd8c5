"""RANet's regions (RCB): Eq. (1) to (5) over all pairs of pixels, without a table of all pairs.

`equations.py` has them in order. `construction.py` is the network's block; it calls the equations as operators of
PyTorch (`operators.py`). `pairs.py` deals out the pairs in tiles, `lines.py` computes D on a tile and `divergence.py`
E. `kernels.py` has the same equations as Triton kernels, for CUDA.
"""
