"""Spatial models."""
