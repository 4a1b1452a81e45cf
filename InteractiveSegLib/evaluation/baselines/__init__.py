"""Baselines for every method."""
