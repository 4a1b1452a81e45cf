"""Annotated images on which results are measured."""
