"""Checkpoints on the Hugging Face Hub: loading by name, prediction, publishing, conversion and export."""

from hub.networks import from_pretrained

__all__ = ["from_pretrained"]
