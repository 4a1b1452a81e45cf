"""The stages from prompts to masks."""
