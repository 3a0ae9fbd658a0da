"""Minimisers on plain arrays, with one step rule, one trust region, and one set of tolerances."""
