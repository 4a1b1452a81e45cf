"""How long the panel keeps the event loop busy, and what it adds to a round: ``python Testing/panel_latency.py``.

A press runs within one turn of the event loop, and so does every callback: the longest turn is the longest time in
which the window does not answer.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from panel_session import PanelSession

from InteractiveSegLib.propagate import registration

SHAPE_KJI = (300, 512, 512)
ROUNDS = ("segment", "fine-tune", "segment again")
METHODS = ("elastix", "shape") if registration.has_elastix() else ("shape",)


@dataclass(frozen=True)
class Latency:
    """One action.

    longest_ms : of a turn of the event loop
    computing_ms : of the turn in which the window's thread computed longest; what other processes take is not in it
    overhead_s : beyond the seconds of the round itself, where there is one
    """

    action: str
    longest_ms: float
    computing_ms: float
    overhead_s: float | None = None


def large_image(shape_kji: tuple[int, int, int], radii_kji: tuple[float, ...]) -> np.ndarray:
    """int16, an ellipsoid in noise."""
    array = np.random.default_rng(0).integers(0, 60, shape_kji, dtype=np.int16)
    middle = tuple(slice(int(n / 2 - r), int(n / 2 + r) + 1) for n, r in zip(shape_kji, radii_kji, strict=True))
    axes = np.ogrid[middle]
    array[middle][sum(((x - n / 2) / r) ** 2 for x, n, r in zip(axes, shape_kji, radii_kji, strict=True)) <= 1] += 100
    return array


def latencies(person: PanelSession, shape_kji: tuple[int, int, int], object_share: float) -> list[Latency]:
    """Every action of a session once, on an image of this shape with an object whose radii are a share of its sides."""
    found: list[Latency] = []
    k, j, i = (n // 2 for n in shape_kji)
    radii = tuple(object_share * n for n in shape_kji)
    dk, dj, di = (round(radius) + margin for radius, margin in zip(radii, (3, 6, 6), strict=True))
    volume = person.add_volume(large_image(shape_kji, radii), np.diag([0.7, 0.7, 1.0, 1.0]))

    def note(action: str, act: Callable[[], None], until: Callable[[], bool] = lambda: True) -> float:
        started = time.perf_counter()
        turns = [_seconds(act), *_turns(until), *_turns(lambda: True)]
        found.append(Latency(action, *(1000 * max(kind) for kind in zip(*turns, strict=True))))
        return time.perf_counter() - started

    def round_(action: str, button: str) -> None:
        total = note(action, lambda: person.press(button), lambda: not person.controller.is_busy)
        assert not person.status.is_error, person.status
        told = f"{person.status.text} {person.ui('resultLabel').text}"
        own = float(re.search(r"([\d.]+) s\b", told).group(1))
        found[-1] = replace(found[-1], overhead_s=total - own)

    person.views.show(volume)  # the views are Slicer's, so that their time is not the panel's
    note("choose the volume", lambda: person.ui("volumeSelector").setCurrentNode(volume))
    note("add a segment", person.add_segment)
    person.place_box((k, j - dj, i - di), (k, j + dj, i + di))
    note("set the depth", lambda: person.ui("depthRange").setValues(k - dk, k + dk))
    for stage in ("busy", "ready"):  # the panel has the worker prepared while a person looks at the box
        person.spin(lambda stage=stage: person.controller.client.status.stage == stage)
    round_("segment", "segmentButton")
    for tool, offset in (("object", 0), ("background", dj - 4)):
        note(f"take up the brush: {tool}", lambda tool=tool: person.press(f"{tool}Button"))
        person.look_at((k, j + offset, i))
        points = [(k, j + offset, i - 20), (k, j + offset, i + 20)]
        person.views.drag("Red", [person.views.display_of("Red", person.point(point)) for point in points])
        note(f"after a stroke: {tool}", lambda: None)
        person.press("brushButton")
    round_("fine-tune", "fineTuneButton")
    round_("segment again", "segmentButton")
    editor = person.editor
    editor.setActiveEffectByName("Paint")
    person.views.drag("Red", [person.views.display_of("Red", person.point((k, j, i + d))) for d in (-30, 30)])
    editor.setActiveEffect(None)
    note("after an edit by hand", lambda: None)
    for button in ("undoButton", "undoButton", "undoButton", "redoButton", "redoButton"):
        note(button.removesuffix("Button"), lambda button=button: person.press(button))
    person.show_overlay("probability")
    note("show the probability", person.controller.changed)
    for index in range(k - dk + 4, k + dk, max(1, dk // 3)):
        person.look_at((index, j, i))
        note("mark a slice as done", lambda: person.press("markSliceButton"))
    for method in METHODS:
        person.pick("methodBox", "PropagateMethod", method)
        round_(f"propagate: {method}", "propagateButton")
        note("next slice", lambda: person.press("nextSliceButton"), lambda: not person.controller.is_busy)
        assert person.panel.propagating.advice.suggestions, person.status
    for kind in ("confidence", "residual"):
        note(f"show the {kind}", lambda kind=kind: person.show_overlay(kind))
    note("undo the propagation", lambda: person.press("undoButton"))
    note("remove all marks of slices", lambda: person.press("unmarkAllButton"))
    note("add a second segment", person.add_segment)
    return found


def _seconds(act: Callable[[], None]) -> tuple[float, float]:
    """That something takes, and of these the thread's own."""
    started, computing = time.perf_counter(), time.thread_time()
    act()
    return time.perf_counter() - started, time.thread_time() - computing


def _turns(until: Callable[[], bool]) -> Iterator[tuple[float, float]]:
    """Seconds of each turn of the event loop, until something is so."""
    from PySide6.QtCore import QEventLoop

    loop = QEventLoop()
    handled: list[bool] = []
    while True:
        yield _seconds(lambda: handled.append(loop.processEvents()))
        if until():
            return
        if not handled.pop():
            time.sleep(0.001)


if __name__ == "__main__":
    share = float(sys.argv[1]) if len(sys.argv) > 1 else 0.25
    print(
        f"image of {' x '.join(str(n) for n in SHAPE_KJI[::-1])} voxels, radii of the object {share:g} of its sides\n"
    )
    print(f"{'action':32} {'longest turn, ms':>16} {'computing, ms':>14} {'beyond the round, s':>20}")
    session = PanelSession()
    for each in latencies(session, SHAPE_KJI, share):
        beyond = "" if each.overhead_s is None else f"{each.overhead_s:.2f}"
        print(f"{each.action:32} {each.longest_ms:16.0f} {each.computing_ms:14.0f} {beyond:>20}")
    session.close()
