"""The requests that a worker answers."""
