"""How things are said: counts, slices, notes, text from elsewhere."""
