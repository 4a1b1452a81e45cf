"""One byte format for wire and disk: messages, prompts, sessions."""
