"""Measuring methods that take prompts: the benchmark, its report, speed, the demo."""
