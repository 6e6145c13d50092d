"""Prints drift and fluctuation of the conserved quantity of a run: python conserved.py RUN ATOMS."""

import sys

import numpy as np

thermo = np.genfromtxt(f"{sys.argv[1]}/thermo.csv", delimiter=",", names=True)
late = thermo[len(thermo) // 4 :]  # without the first quarter
time, energy = late["time_fs"] / 1000, late["conserved_eV"] / int(sys.argv[2]) * 1000
slope, start = np.polyfit(time, energy, 1)
print(f"drift {slope:.3g} meV per atom and ps, fluctuation {np.std(energy - start - slope * time):.3g} meV per atom")
print(f"temperature {late['temperature_K'].mean():.1f} K, standard deviation {late['temperature_K'].std():.1f} K")
