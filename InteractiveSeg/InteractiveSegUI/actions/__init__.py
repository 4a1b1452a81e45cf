"""The actions behind the sections' buttons."""
