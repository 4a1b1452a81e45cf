"""Measuring: the benchmark, its data, users and baselines."""
