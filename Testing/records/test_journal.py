"""The journal recovers the last session of a process that crashed, and none of one that runs or ended normally."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from blobs import SHAPE_KJI, blob_volume, ellipsoid

from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry, Volume
from InteractiveSegLib.image.packed_mask import PackedMask
from InteractiveSegLib.prompts.drawing import Drawing
from InteractiveSegLib.prompts.lasso import Lasso
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.prompts.scribbles import BACKGROUND, Scribbles
from InteractiveSegLib.records import journal as journal_module
from InteractiveSegLib.records.journal import SUBFOLDER, Journal, recoverable
from InteractiveSegLib.records.session_state import SessionState, VolumeIdentity, last_state

SETTINGS = {"model": "prompted", "segments": {"1": {"name": "Leber", "accepted": True}}}


def drawn(volume, voxel=(3, 4, 5)):
    drawing = Drawing(volume.geometry)
    drawing.set_box(1, BoundingBox((2, 4, 6), (11, 17, 21)))
    drawing.add_scribbles(Scribbles(np.array([[6, 10, i] for i in range(9, 18)] + [voxel]), np.array([1] * 9 + [255])))
    drawing.add_lasso(7, Lasso(0, 9, np.array([[2, 2], [2, 7], [7, 7], [7, 2]])))
    drawing.set_start(2, ellipsoid(radii_kji=(2, 2, 3)))
    painted = ellipsoid(radii_kji=(1, 1, 1)).astype(np.uint8) * 3
    drawing.add_edits(np.zeros_like(painted), painted)
    return drawing.prompts


def state(volume=None, voxel=(3, 4, 5), **changes):
    volume = volume or blob_volume()
    changes = {"settings": SETTINGS, **changes}
    masks = {1: PackedMask.of(ellipsoid()), 2: PackedMask.of(ellipsoid(radii_kji=(1, 2, 2)))}
    return SessionState(
        **{"volume": volume, "prompts": drawn(volume, voxel), "masks": masks, "settings": SETTINGS} | changes
    )


def assert_same_masks(found, expected):
    assert set(found) == set(expected)
    whole = BoundingBox.whole(SHAPE_KJI)
    for label, mask in expected.items():
        np.testing.assert_array_equal(found[label].within(whole), mask.within(whole))


def assert_same(found, expected):
    assert dict(found.prompts.boxes) == dict(expected.prompts.boxes)
    assert dict(found.prompts.lasso_boxes) == dict(expected.prompts.lasso_boxes)
    assert found.prompts.scribbles.equals(expected.prompts.scribbles)
    assert_same_masks(found.prompts.start_masks, expected.prompts.start_masks)
    assert_same_masks(found.masks, expected.masks)
    assert found.settings == expected.settings
    assert abs(found.time - time.time()) < 60


def crashed(journal):
    """As after the death of the process: the system gives the lock back, the file stays."""
    assert journal.wait(10)
    journal._lock.release()


def files(folder):
    return sorted(path.name for path in (folder / SUBFOLDER).iterdir())


def test_the_last_state_of_a_dead_process_comes_back(tmp_path):
    journal = Journal.open(tmp_path)
    journal.record(state(voxel=(0, 0, 0)))
    assert journal.wait(10)
    last = state(path="/images/scan.nii.gz")
    journal.record(last)
    crashed(journal)
    (found,) = recoverable(tmp_path)
    assert_same(found.state, last)
    assert (found.state.volume.name, found.state.volume.path) == ("blob", "/images/scan.nii.gz")
    assert found.state.volume.difference(last.volume) == ""
    found.discard()
    assert recoverable(tmp_path) == []
    assert files(tmp_path) == []


def test_prompts_of_nothing_and_at_the_corners_of_the_image_come_back(tmp_path):
    corners = np.array([[0, 0, 0], [13, 19, 24], [13, 0, 24], [0, 19, 0], [0, 0, 24], [0, 1, 0]])
    marks = Scribbles(corners, np.array([1, 2, BACKGROUND, 254, 3, 3]))
    for prompts in (Prompts(), Prompts({254: BoundingBox.whole(SHAPE_KJI)}, marks)):
        journal = Journal.open(tmp_path)
        journal.record(state(prompts=prompts, masks={}))
        crashed(journal)
        (found,) = recoverable(tmp_path)
        assert_same(found.state, state(prompts=prompts, masks={}))
        found.discard()


def test_a_clean_end_leaves_nothing_behind(tmp_path):
    journal = Journal.open(tmp_path)
    assert not (tmp_path / SUBFOLDER).exists()
    journal.record(state())
    assert journal.wait(10)
    assert len(files(tmp_path)) == 2
    journal.close()
    assert files(tmp_path) == []
    journal.record(state())
    assert journal.wait(1)
    assert files(tmp_path) == []
    Journal.open(tmp_path).close()


def test_two_programs_side_by_side_do_not_mix_and_one_that_lives_is_not_offered(tmp_path):
    living, dying = Journal.open(tmp_path), Journal.open(tmp_path)
    living.record(state(voxel=(1, 1, 1)))
    dying.record(state(voxel=(2, 2, 2)))
    assert living.wait(10)
    crashed(dying)
    (found,) = recoverable(tmp_path)
    assert_same(found.state, state(voxel=(2, 2, 2)))
    found.discard()
    living.record(state(voxel=(1, 1, 2)))
    crashed(living)
    (found,) = recoverable(tmp_path)
    assert_same(found.state, state(voxel=(1, 1, 2)))


CHILD = """
import sys, time
sys.path.insert(0, {here!r})
from pathlib import Path
from test_journal import state
from InteractiveSegLib.records.journal import Journal
journal = Journal.open(Path(sys.argv[1]))
journal.record(state())
assert journal.wait(20)
print("written", flush=True)
if sys.argv[2] == "live":
    time.sleep(60)
"""


@pytest.mark.parametrize("end", ["live", "exit"])
def test_the_session_of_a_real_process_is_offered_only_once_it_is_dead(tmp_path, end):
    here = Path(__file__).resolve().parent
    words = [sys.executable, "-c", CHILD.format(here=str(here)), str(tmp_path), end]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here.parent), str(here.parents[1])])}
    with subprocess.Popen(words, stdout=subprocess.PIPE, env=environment) as child:
        assert child.stdout.readline().strip() == b"written"
        if end == "live":
            assert recoverable(tmp_path) == []
            child.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
        child.wait(20)
    (found,) = recoverable(tmp_path)
    assert_same(found.state, state())


def test_a_file_that_was_cut_anywhere_gives_the_last_whole_state(tmp_path):
    journal, sizes = Journal.open(tmp_path), []
    for k in range(3):
        journal.record(state(voxel=(0, 0, k)))
        assert journal.wait(10)
        sizes.append(journal.path.stat().st_size)
    whole = journal.path.read_bytes()
    for cut in (0, 1, sizes[0] - 1, sizes[0], sizes[0] + 30, sizes[1] - 1, sizes[1], sizes[2] - 1, sizes[2]):
        found, records = last_state(whole[:cut]), sum(cut >= size for size in sizes)
        assert (found is None) == (records == 0)
        if found is not None:
            assert_same(found, state(voxel=(0, 0, records - 1)))


def test_a_damaged_file_gives_a_state_that_was_recorded_or_none(tmp_path):
    journal = Journal.open(tmp_path)
    for k in range(2):
        journal.record(state(voxel=(0, 0, k)))
        assert journal.wait(10)
    whole, rng = journal.path.read_bytes(), np.random.default_rng(3)
    states = [state(voxel=(0, 0, k)) for k in range(2)]
    outcomes = set()
    for bit in rng.choice(8 * len(whole), min(1000, 8 * len(whole)), replace=False):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        found = last_state(bytes(data))
        if found is not None:
            (which,) = (k for k in range(2) if found.prompts.scribbles.equals(states[k].prompts.scribbles))
            assert_same(found, states[which])
            outcomes.add(which)
    assert 0 in outcomes
    assert last_state(whole + bytes(10_000)).prompts.scribbles.equals(states[1].prompts.scribbles)


def test_an_unreadable_file_of_a_dead_process_is_removed(tmp_path):
    (tmp_path / SUBFOLDER).mkdir()
    (tmp_path / SUBFOLDER / "1-ab.journal").write_bytes(b"nothing")
    assert recoverable(tmp_path) == []
    assert files(tmp_path) == []


def test_the_file_stays_small_and_whole_however_long_the_work_takes(tmp_path, monkeypatch):
    monkeypatch.setattr(journal_module, "_MOST_BYTES", 20_000)
    journal, sizes = Journal.open(tmp_path), []
    for k in range(60):
        journal.record(state(voxel=(0, k // 25, k % 25)))
        assert journal.wait(10)
        sizes.append(journal.path.stat().st_size)
    assert max(sizes) <= 20_000
    assert (np.diff(sizes) < 0).sum() == 2
    crashed(journal)
    (found,) = recoverable(tmp_path)
    assert_same(found.state, state(voxel=(0, 59 // 25, 59 % 25)))


def test_recording_holds_nobody_up_on_a_large_image(tmp_path):
    """512 x 512 x 300 voxels, 200,000 scribbled ones, a liver; the writing of a state takes a moment, in a thread."""
    shape = (300, 512, 512)
    volume = Volume(np.zeros(shape, np.int16), Geometry(shape, np.eye(4)))
    liver = ellipsoid((150, 250, 250), (75, 125, 125), (70, 120, 120))
    mask = PackedMask.of(np.pad(liver, ((50, 100), (100, 162), (100, 162))))
    rng = np.random.default_rng(0)
    marks = Scribbles(rng.integers(0, shape, (200_000, 3)), np.ones(200_000, np.uint8))
    journal, took = Journal.open(tmp_path), []
    for label in range(1, 6):
        prompts = Prompts({label: mask.box}, marks, {label: mask})
        begun = time.perf_counter()
        journal.record(SessionState(volume, prompts, {label: mask}))
        took.append(time.perf_counter() - begun)
        assert journal.wait(60)
    assert np.median(took) < 0.05
    assert max(took) < 0.5  # where other programs keep the processor busy
    assert journal.path.stat().st_size < 16e6
    journal.close()


def test_of_states_that_come_faster_than_they_are_written_the_latest_is(tmp_path):
    journal = Journal.open(tmp_path)
    volume = blob_volume()
    for k in range(200):
        journal.record(SessionState(volume, Prompts({1: BoundingBox((0, 0, 0), (1, 1, 1 + k % 20))}), {}, {"count": k}))
    crashed(journal)
    (found,) = recoverable(tmp_path)
    assert found.state.settings == {"count": 199}


def test_a_full_disk_is_reported_once_and_when_there_is_room_the_work_is_kept_again(tmp_path, monkeypatch):
    told, real = [], os.write
    journal = Journal.open(tmp_path, told.append)
    journal.record(state(voxel=(0, 0, 0)))
    assert journal.wait(10)
    size = journal.path.stat().st_size

    def half(file, data):
        if len(data) < 100:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, data[: len(data) // 2])

    monkeypatch.setattr(os, "write", half)
    for k in range(1, 4):
        journal.record(state(voxel=(0, 0, k)))
        assert journal.wait(10)
        assert journal.path.stat().st_size == size
    assert len(told) == 1
    assert told[0].startswith("the work cannot be recovered after a crash")
    assert told[0].endswith("No space left on device")
    monkeypatch.undo()
    journal.record(state(voxel=(0, 0, 9)))
    crashed(journal)
    (found,) = recoverable(tmp_path)
    assert_same(found.state, state(voxel=(0, 0, 9)))
    assert len(told) == 1


def test_a_folder_that_cannot_be_made_is_reported_once_and_work_continues(tmp_path):
    (tmp_path / "file").write_text("")
    told = []
    journal = Journal.open(tmp_path / "file", told.append)
    for _ in range(3):
        journal.record(state())
        assert journal.wait(10)
    assert len(told) == 1
    journal.close()
    assert recoverable(tmp_path / "file") == []


@pytest.mark.skipif(sys.platform == "win32", reason="permissions")
def test_others_on_the_computer_cannot_read_it(tmp_path):
    journal = Journal.open(tmp_path)
    journal.record(state())
    assert journal.wait(10)
    for path in (journal.path.parent, journal.path):
        assert path.stat().st_mode & 0o077 == 0
    journal.close()


def test_old_sessions_that_nobody_wanted_are_removed(tmp_path):
    for _ in range(14):
        journal = Journal.open(tmp_path)
        journal.record(state())
        crashed(journal)
    old = sorted(path for path in (tmp_path / SUBFOLDER).glob("*.journal"))[:3]
    for path in old:
        os.utime(path, (time.time() - 30 * 86400,) * 2)
    living = Journal.open(tmp_path)
    living.record(state())
    assert living.wait(10)
    left = set((tmp_path / SUBFOLDER).glob("*.journal"))
    assert not left & set(old)
    assert len(left) <= 12
    living.close()


def test_an_image_is_known_again_by_grid_and_voxels(oblique_geometry):
    geometry = Geometry(SHAPE_KJI, oblique_geometry.ijk_to_ras)
    array = blob_volume().array_kji
    identity = VolumeIdentity.of(Volume(array, geometry, "blob"))
    assert identity.difference(Volume(np.asfortranarray(array), geometry)) == ""
    assert identity.difference(Volume(array.astype(">i2"), geometry)) == ""
    other = array.copy()
    other[3, 4, 5] += 1
    assert "other voxels" in identity.difference(Volume(other, geometry, "blob"))
    assert "other voxels" in identity.difference(Volume(array.astype(np.int32), geometry))
    assert "mm away" in identity.difference(Volume(array, Geometry(SHAPE_KJI, np.eye(4))))
    assert "shape" in identity.difference(Volume(array[1:], Geometry(array[1:].shape, np.eye(4))))


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="owners of files")
def test_a_folder_of_somebody_else_is_neither_written_nor_read(tmp_path, monkeypatch):
    journal = Journal.open(tmp_path)
    journal.record(state())
    crashed(journal)
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert recoverable(tmp_path) == []
    told = []
    other = Journal.open(tmp_path, told.append)
    for _ in range(2):
        other.record(state())
        assert other.wait(10)
    assert len(told) == 1
    assert "belongs to somebody else" in told[0]
    assert len(files(tmp_path)) == 2
