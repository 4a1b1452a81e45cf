"""Propagation of annotated slices, measured."""
