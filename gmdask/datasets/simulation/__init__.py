"""Simulated datasets and events."""
