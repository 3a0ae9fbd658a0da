"""The joint likelihood of all datasets, wherever they are evaluated."""
