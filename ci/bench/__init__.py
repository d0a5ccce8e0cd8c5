"""Benchmarks that are kept with the code: time, memory, and the targets that they must reach."""
