"""Slicer's nodes as plain values, and the changes a user makes in them."""
