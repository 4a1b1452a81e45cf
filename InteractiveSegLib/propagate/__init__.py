"""Annotated slices carried to the others, and which slice to annotate next."""
