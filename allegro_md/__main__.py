"""``python -m allegro_md`` is the program `allegro-md`."""

import sys

from allegro_md.cli import main

sys.exit(main())
