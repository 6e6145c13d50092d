"""The command allegro-md with a quantity of one's own, gyration.py in the same folder."""

import sys

from allegro_md.cli import main
from allegro_md.config.output import OBSERVERS
from allegro_md.config.registry import Entry

OBSERVERS.register("gyration", Entry("gyration:GyrationTable", "allegro_md.analysis.observer:build"))
sys.exit(main(sys.argv[1:]))
