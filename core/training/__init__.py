"""Training: what is checked before the first step, the loop, and what it leaves."""
