"""The way of the data from prompts to masks."""
