"""Notes for the user, and how they name slices."""
