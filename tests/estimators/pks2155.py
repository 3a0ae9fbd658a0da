"""What is asked for of the PKS 2155-304 runs."""

SOURCE = "pks2155"
SELECTION = ("errn-errp", "ul")
