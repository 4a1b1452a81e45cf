"""Image files by format: what they are, what their headers say, and whether that is what was read."""
