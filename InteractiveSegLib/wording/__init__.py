"""Text as people read it: counts, and names from elsewhere."""
