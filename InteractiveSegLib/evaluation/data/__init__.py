"""Annotated images that results are measured on."""
