"""Benchmarks that are kept with the code: what is fast, how much memory it takes, and the targets that it must reach."""
