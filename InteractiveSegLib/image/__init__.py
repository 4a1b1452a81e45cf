"""Images and masks as plain values, and their files: what headers say, and whether that is what was read."""
