"""The sections of the panel, from top to bottom: each has its ``.ui`` file, and calls actions of its own."""
