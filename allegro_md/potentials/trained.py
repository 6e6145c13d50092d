"""First steps that both engines of an Allegro model share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from allegro_md.errors import InputError
from allegro_md.models.allegro.network import Network
from allegro_md.models.modelfile import load_model


def trained(model: Network | str | Path, symbols: Sequence[str]) -> tuple[Network, str]:
    """A network that knows the species of a system, and its name in messages.

    Raises:
        InputError: the file is no model, or the model does not know an element.
    """
    network, where = (model, "model") if isinstance(model, Network) else (load_model(model), str(model))
    known = network.architecture.symbols
    for symbol in symbols:
        if symbol not in known:
            raise InputError(f"the model does not know {symbol}", where, f"it was trained for {', '.join(known)}")
    return network, where
