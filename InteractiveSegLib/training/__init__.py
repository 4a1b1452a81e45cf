"""The one trainer, its data and its recipes."""
