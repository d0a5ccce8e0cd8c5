"""Testing: a protocol over a data set, and the numbers that papers print."""
