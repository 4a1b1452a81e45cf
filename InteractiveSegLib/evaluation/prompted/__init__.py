"""Methods that take prompts, measured: the benchmark, its report, speed, the demo."""
