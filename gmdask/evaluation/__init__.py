"""The likelihood of all datasets together, wherever they are evaluated."""
