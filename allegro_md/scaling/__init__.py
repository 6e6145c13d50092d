"""Studies of how the time of a step depends on ranks and atoms, and forecasts of it for machines one does not have."""
