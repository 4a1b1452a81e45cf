"""The prompted network, P-Net and PC-Net, models from elsewhere, and their files."""

DEFAULT_NETWORK = "prompted"
"""Of the shipped networks the one that scores highest on the annotated datasets."""
