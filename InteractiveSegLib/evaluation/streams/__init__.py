"""Learning from accepted cases, measured over a stream of them."""
