"""Scaling: studies on several numbers of ranks, short trials of settings, and forecasts."""
