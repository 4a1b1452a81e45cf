"""What a person draws, as plain values, and the files that hold it."""
