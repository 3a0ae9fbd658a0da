"""Temporal models."""
