"""Learning from accepted cases: every case makes the next one faster."""
