"""One byte format for messages and files: messages, prompts, sessions."""
