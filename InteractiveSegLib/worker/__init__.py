"""A worker process: what goes over to it, how it is reached, and what it does."""
