"""A simulation: built from an input, stepped, reported."""
