"""The prompted network, P-Net, PC-Net, ensembles, models from elsewhere, and their files."""

DEFAULT_NETWORK = "ensemble"
"""The shipped network that scores highest on the annotated datasets."""

AUTOMATIC = "automatic"
"""The kind of a model that takes no prompts, in its card."""
