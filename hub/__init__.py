"""Checkpoints on the Hugging Face Hub: loading by name, prediction, publishing, conversion and export."""

from hub.networks import from_pretrained, shipped

__all__ = ["from_pretrained", "shipped"]
