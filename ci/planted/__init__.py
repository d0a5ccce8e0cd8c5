"""The mistakes that `ci.mutations` plants: each a small text in place of another, and whose tests must notice it.

Each is one that a hand could make and that changes what is learned or what is reported, while everything still runs.
The old text must stand in its file exactly once.
"""

from ci.planted import danet, dfdam, pdanet, ranet, sanet, shared

MISTAKES = (
    *shared.MISTAKES,
    *danet.MISTAKES,
    *dfdam.MISTAKES,
    *pdanet.MISTAKES,
    *ranet.MISTAKES,
    *sanet.MISTAKES,
)
