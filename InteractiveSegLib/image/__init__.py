"""Images and masks as plain values, and their files, checked against their headers."""
