"""A study as a folder: its images, the work on each, and what was learnt from them."""
