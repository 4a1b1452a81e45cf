"""Training images that never were."""
