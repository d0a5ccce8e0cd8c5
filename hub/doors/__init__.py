"""Doors for other readers: what a published folder holds so that `transformers` opens it where this code is not."""
