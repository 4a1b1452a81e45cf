"""The prompted network, P-Net, PC-Net, ensembles, models from elsewhere, and their files."""

DEFAULT_NETWORK = "ensemble"
"""Of the shipped networks the one that scores highest on the annotated datasets."""
