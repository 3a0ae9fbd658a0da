"""JSON Schemas of the store, the YAML files and the results."""
