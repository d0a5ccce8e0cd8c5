"""Measurements that are kept with the code, each a command of its own with the targets that it must reach."""
