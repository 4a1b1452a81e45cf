"""A study as a folder: which images there are, what was done to each, and what was learnt from them."""
