"""Propagated objects that are too small to be followed are named, and others are not."""

import numpy as np
import pytest
from moving_shapes import SHAPE_KJI, image_of, slices_of, volume_of, wandering_disc

from InteractiveSegLib.image.geometry import Geometry
from InteractiveSegLib.notes.notes import Words, note_fields, notes_of, said
from InteractiveSegLib.notes.slice_names import InPatient
from InteractiveSegLib.progress import finish
from InteractiveSegLib.propagate.propagate_result import PropagateResult
from InteractiveSegLib.propagate.proxy_mask import PropagateSettings, propagate_steps
from InteractiveSegLib.propagate.vanished import vanished_notes

BY_SHAPE = PropagateSettings("shape")


def proxy_of(labels, indices, axis=0):
    return finish(propagate_steps(volume_of(image_of(labels > 0)), slices_of(labels, indices, axis), BY_SHAPE))


def with_dot(first, second, label=1):
    """A voxel on slices 4 and 8 of a volume."""
    labels = np.zeros(SHAPE_KJI, np.uint8)
    labels[4][first] = labels[8][second] = label
    return labels


@pytest.mark.parametrize(
    ("first", "second", "label"),
    [((5, 5), (30, 30), 1), ((20, 3), (20, 40), 7), ((0, 0), (47, 43), 254)],
)
def test_an_object_of_one_voxel_that_vanishes_is_named_with_the_slices(first, second, label):
    proxy = proxy_of(with_dot(first, second, label), [4, 8])
    mask = proxy.labelmap()
    assert not mask[6].any()
    (note,) = vanished_notes(proxy, mask)
    start = f"label {label} is on k slice 4 and k slice 8 but vanishes between them, on k slice"
    assert note.startswith(start)
    lost = np.flatnonzero(~(mask[5:8] == label).any(axis=(1, 2))) + 5
    first, last = lost.min(), lost.max()
    assert len(lost) == last - first + 1
    assert note.startswith(f"{start} {first}:" if first == last else f"{start}s {first} to {last}:")
    assert PropagateResult.of_proxy(proxy, 0.0).notes == (*proxy.notes, note)


def test_the_note_uses_the_terms_of_its_reader():
    proxy = proxy_of(with_dot((5, 5), (30, 30)), [4, 8])
    (note,) = vanished_notes(proxy, proxy.labelmap())
    geometry = Geometry(SHAPE_KJI, np.diag([1.0, 1.0, 2.5, 1.0]))
    in_window = said(note, Words({1: "Tumour"}, InPatient(geometry)))
    assert in_window.startswith(
        "Tumour is on axial, S 10 mm and axial, S 20 mm but vanishes between them, on axial, S "
    )
    assert "slice" not in in_window
    assert notes_of(note_fields([note])) == (note,)
    assert notes_of(note_fields([note]))[0].parts == note.parts


def test_slices_that_are_not_neighbours_are_listed_by_themselves():
    labels = wandering_disc().astype(np.uint8)
    proxy = proxy_of(labels, [2, 10])
    mask = proxy.labelmap()
    mask[[3, 5, 6, 8]] = 0
    (note,) = vanished_notes(proxy, mask)
    assert "vanishes between them, on k slice 3, k slices 5 to 6, k slice 8: it is too small" in note


def test_beside_an_object_that_is_followed_the_vanished_one_alone_is_named():
    labels = wandering_disc().astype(np.uint8)
    labels[4, 44, 2], labels[8, 2, 40] = 2, 2
    proxy = proxy_of(labels, [0, 4, 8, 12])
    (note,) = vanished_notes(proxy, proxy.labelmap())
    assert note.startswith("label 2 is on k slice 4 and k slice 8 but")


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_an_object_that_is_followed_or_has_ended_is_not_named(axis):
    labels = np.moveaxis(np.stack([wandering_disc()[0]] * 13).astype(np.uint8), 0, axis)
    proxy = proxy_of(labels, [2, 6, 10], axis)
    assert vanished_notes(proxy, proxy.labelmap()) == []
    np.moveaxis(labels, axis, 0)[6] = 0
    proxy = proxy_of(labels, [2, 6, 10], axis)
    assert vanished_notes(proxy, proxy.labelmap()) == []
