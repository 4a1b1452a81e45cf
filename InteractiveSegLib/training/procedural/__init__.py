"""Procedural training images."""
