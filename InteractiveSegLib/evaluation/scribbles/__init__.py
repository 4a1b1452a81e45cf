"""What a network learns from scribbles alone, against other ways to teach it."""
