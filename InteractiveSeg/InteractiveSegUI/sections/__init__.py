"""The sections of the panel, from top to bottom; each has its own ``.ui`` file and actions."""
