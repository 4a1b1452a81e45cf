"""What a worker can be asked."""
