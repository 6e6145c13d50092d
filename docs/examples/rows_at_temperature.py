"""Collects what replicas have at one temperature: python rows_at_temperature.py DIRECTORY TEMPERATURE."""

import json
import sys
from pathlib import Path

import numpy as np

from allegro_md.io.exchanges import read_exchanges
from allegro_md.io.thermo import read_thermo

directory, kelvin = Path(sys.argv[1]), float(sys.argv[2])
exchanges = read_exchanges(directory / "exchanges.csv")
replicas = json.loads((directory / "replicas.json").read_text())["replicas"]
energies = []
for index, replica in enumerate(replicas):
    thermo = read_thermo(directory / replica["directory"] / "thermo.csv")
    had = np.append(replica["temperature_K"], exchanges.temperatures[:, index])  # at the start, after each exchange
    at = had[np.searchsorted(exchanges.steps, thermo.steps)]  # of each row
    energies.extend(thermo.columns["potential_eV"][np.isclose(at, kelvin)])
print(f"{len(energies)} rows at {kelvin:g} K, mean potential energy {np.mean(energies):.6f} eV")
