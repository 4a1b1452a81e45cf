"""Shared by several tests: an awkward grid, and the real images if they are available."""

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from panel_session import PanelSession
from warm_worker import start_server, warm_command

from InteractiveSegLib.image.geometry import Geometry


def pytest_configure(config: pytest.Config) -> None:
    """Before the processes of pytest-xdist start, so that they share the process which tests fork workers from."""
    start_server()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is imported stays to the end: the garbage collector need not look through it again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """The arrays are small: more threads cost more than they save."""
    import torch  # not by the process of pytest-xdist that runs no test

    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def own_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the tests trust is not written among the settings of the person who runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTERACTIVESEG_CONFIG", str(tmp_path_factory.mktemp("settings")))
        yield


@pytest.fixture(autouse=True, scope="session")
def files_that_no_power_cut_threatens() -> Iterator[None]:
    """Nothing waits for the disk: what a test writes need not survive the end of the computer, only of a process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def warm_slice_processes() -> Iterator[None]:
    from InteractiveSegLib.propagate import slice_pool

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slice_pool, "library_command", warm_command)
        yield


@pytest.fixture
def oblique_geometry() -> Geometry:
    """Shape (10, 20, 31), spacing 0.5, 0.7, 3.0 mm (i, j, k), turned about all three axes, with the j axis flipped."""
    a, b, c = np.deg2rad((25.0, -40.0, 65.0))
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(c), -np.sin(c)], [0, np.sin(c), np.cos(c)]])
    ijk_to_ras = np.eye(4)
    ijk_to_ras[:3, :3] = about_z @ about_y @ about_x @ np.diag([0.5, -0.7, 3.0])
    ijk_to_ras[:3, 3] = (-312.7, 481.3, -256.9)
    return Geometry((10, 20, 31), ijk_to_ras)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real images: ``INTERACTIVESEG_DATA``, or ``../shared/data`` beside the repository."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("INTERACTIVESEG_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no real images: {folder} does not exist (set INTERACTIVESEG_DATA)")
    return folder


@pytest.fixture(scope="module")
def warm_models() -> Iterator[None]:
    """The processes of models from elsewhere are forks; none of them stays for another module."""
    from tiny_models import end_idle_model

    from InteractiveSegLib.networks import script_model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(script_model, "library_command", warm_command)
        yield
        gc.collect()
        end_idle_model()


@pytest.fixture
def person() -> Iterator[PanelSession]:
    """A person at the panel in the test bed. Errors in slots and observers, which are only printed, fail the test."""
    pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ImportError)
    pytest.importorskip("PySide6.QtWidgets", reason="PySide6 cannot be loaded", exc_type=ImportError)
    pytest.importorskip("trame_slicer", reason="trame-slicer is not installed", exc_type=ImportError)
    errors: list[BaseException] = []
    before, sys.excepthook = sys.excepthook, lambda _type, error, _traceback: errors.append(error)
    try:
        session = PanelSession()
        yield session
        session.close()
    finally:
        sys.excepthook = before
    for error in errors:
        raise error
