"""A worker process: what is sent to it, how it is reached, and what it does."""
