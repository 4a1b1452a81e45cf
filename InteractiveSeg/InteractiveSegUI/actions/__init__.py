"""What the sections' buttons do."""
