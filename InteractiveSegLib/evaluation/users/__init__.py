"""Simulated users, who draw as people do."""
