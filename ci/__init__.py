"""What is checked by command rather than by the test run: kept benchmarks and their targets."""
