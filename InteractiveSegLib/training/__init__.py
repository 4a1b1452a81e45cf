"""The trainer, its data and its recipes."""
