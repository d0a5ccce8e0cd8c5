"""What the five papers share: a library of functions that knows no paper."""
