"""What the user draws, as plain values, and the files that contain it."""
