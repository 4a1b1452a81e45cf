"""Measuring the propagation of annotated slices."""
