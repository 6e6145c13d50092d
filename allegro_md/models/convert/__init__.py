"""Models of other programs as ours: nequip-allegro and the code of the 2023 paper."""
