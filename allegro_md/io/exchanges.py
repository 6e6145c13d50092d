"""``exchanges.csv``."""
EXCHANGES, AVERAGES = "exchanges.csv", "temperatures.csv"
