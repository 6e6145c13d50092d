"""The stage of an input that studies, trials and plans measure: the first in which time passes."""

from __future__ import annotations

from allegro_md.config import Input
from allegro_md.errors import InputError


def measured_stage(config: Input, where: str = "") -> int:
    """Index of the first stage that makes steps of a timestep.

    Minimizers do not, and they end by themselves.

    Args:
        config: the input.
        where: the input file, for messages.

    Raises:
        InputError: there is none; names the stages.
    """
    for index, stage in enumerate(config.stages):
        if stage.dynamics.length_of_step > 0.0:
            return index
    file, remedy = f"{where}, " if where else "", "give one with a timestep, such as nve"
    if not config.stage:
        what = f'"{config.dynamics.ensemble}" makes no steps of a timestep, whose speed can be measured'
        raise InputError(what, f"{file}dynamics.ensemble", remedy)
    named = ", ".join(f"'{stage.name}' ({stage.dynamics.ensemble})" for stage in config.stage)
    what = f"no stage makes steps of a timestep, whose speed can be measured: {named}"
    raise InputError(what, f"{file}stage", remedy)


def alone(config: Input, where: str = "") -> Input:
    """The input with the measured stage as its whole run; arguments and errors as of `measured_stage`."""
    return config.of_stage(measured_stage(config, where)).model_copy(update={"stage": ()})


def remarks(config: Input) -> list[str]:
    """A line that says which stage is measured; none where the run is not divided into stages."""
    if not config.stage:
        return []
    index = measured_stage(config)
    line = f"the stage '{config.stage[index].name}' is measured, the first that makes steps of a timestep"
    return [line if index == 0 else f"{line}; it begins with the atoms of [system], without the stages before it"]
