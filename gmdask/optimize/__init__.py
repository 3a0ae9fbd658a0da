"""Minimisers on plain arrays: one step rule, one trust region, one set of tolerances."""
