"""The likelihood: datasets compiled into small operators, and evaluated with derivatives."""
