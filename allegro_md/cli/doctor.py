"""``allegro-md doctor``."""

from __future__ import annotations

import typer


def doctor(context: typer.Context) -> int:
    """Look at this machine: versions, MPI and its launcher, cores, GPU, caches, disk; say what to mend.

    Under mpirun it looks at the ranks there are, otherwise it starts two of its own. Exit status 2 when something is
    wrong, 0 else.
    """
    comm = context.obj
    import torch
    from rich.console import Console
    from rich.table import Table

    from allegro_md.cli.diagnosis import diagnose
    from allegro_md.simulation.host_info import by_host, cores_of, host_info

    torch.set_num_threads(1)  # as runs do
    places = host_info(comm)
    findings = comm.bcast(diagnose(comm, places))
    ranks = Table("host", "ranks", "cores", "threads per rank", "device", title="where the ranks run")
    for host, there in by_host(places).items():
        threads, devices = (", ".join(sorted({str(p[key]) for p in there})) for key in ("threads", "device"))
        ranks.add_row(host, str(len(there)), str(len(cores_of(there))), threads, devices)
    results = Table("", "what", "found", "how to mend it", show_lines=False)
    for finding in findings:
        results.add_row(finding.verdict, finding.what, finding.found, finding.remedy)
    console = Console(width=None if Console().is_terminal else 160)
    console.print(ranks)
    console.print(results)
    return 2 if any(finding.verdict == "wrong" for finding in findings) else 0
