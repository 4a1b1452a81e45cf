"""Notes for a person, and what slices are called in them."""
