"""The learner in a separate process of low priority."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from InteractiveSegLib.system.low_priority import give_way
from InteractiveSegLib.system.python_process import library_command, library_environment


def learner_command(casebook: Path, learner: str, more: Sequence[str] = ()) -> list[str]:
    """The command line of a learner at low priority, which any client may start."""
    words = ["learn", str(casebook), "--network", learner, "--low-priority", "--quiet", *more]
    return library_command("InteractiveSegLib.cli", *words)


def start_learner(casebook: Path, learner: str, more: Sequence[str] = ()) -> subprocess.Popen[bytes]:
    """Start a learner. It ends when all accepted cases are learnt, and may be killed at any time."""
    return subprocess.Popen(
        learner_command(casebook, learner, more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=library_environment(OMP_NUM_THREADS="1"),
    )


def lower_priority() -> None:
    """Yield to every other process, and use one core."""
    import torch

    torch.set_num_threads(1)
    give_way()
