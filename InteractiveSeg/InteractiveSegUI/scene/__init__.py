"""Slicer's nodes as plain values, and what a person changes in them."""
