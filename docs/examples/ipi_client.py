"""Gives i-PI the forces of an Allegro model: python ipi_client.py MODEL STRUCTURE SOCKET.

MODEL is a model file, STRUCTURE the file that the input of i-PI names, SOCKET the address of its <ffsocket>.
"""

import sys

from ase.calculators.socketio import SocketClient
from ase.io import read

from allegro_md.ase import AllegroCalculator

model, structure, socket = sys.argv[1:]
atoms = read(structure)
atoms.calc = AllegroCalculator(model, precision="double")
SocketClient(unixsocket=socket).run(atoms, use_stress=True)
