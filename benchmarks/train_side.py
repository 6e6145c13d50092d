"""This program's side of the comparison of trainings: ``allegro-md train``, which takes turns with the others.

Run by `versus_nequip_train.py`: INPUT, the pipe before, the pipe after.
"""

from __future__ import annotations

import sys
from pathlib import Path

import turns

from allegro_md.comm import Comm
from allegro_md.config.load import load_training
from allegro_md.training.session import TrainingRun
from allegro_md.training.train import Trainer


def main() -> None:
    """Trains; an epoch begins when the one before in the ring has ended its own."""
    source, before, after = sys.argv[1:]
    baton = turns.Baton(before, after)
    epoch = Trainer.epoch

    def in_turn(trainer: Trainer) -> dict[str, float]:
        baton.take()
        row = epoch(trainer)
        baton.give()
        return row

    Trainer.epoch = in_turn  # type: ignore[method-assign]
    TrainingRun(load_training(Path(source)), Comm()).run()


if __name__ == "__main__":
    main()
