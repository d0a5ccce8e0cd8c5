"""Gates and measurements that are kept with the code, each a command of its own with the targets it must reach."""
