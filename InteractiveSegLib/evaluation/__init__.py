"""Measuring: what is measured, by whom, against what."""
