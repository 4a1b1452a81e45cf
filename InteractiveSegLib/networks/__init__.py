"""P-Net and PC-Net, and their files."""

DEFAULT_NETWORK = "pnet"
"""Of the shipped networks the one that scores higher on the annotated datasets, fine-tuned with scribbles."""
