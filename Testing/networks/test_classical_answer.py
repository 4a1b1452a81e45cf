"""The answer without training: a posterior by distances and intensities, of one object among several kinds."""

import math

import pytest
import torch
from marked_rows import (
    CUBES,
    FLOOR,
    SHARP,
    SOFT,
    SPACING_KJI_MM,
    channel,
    cues_of,
    density,
    everywhere,
    kinds_missing,
    line,
    marked,
    on_row,
    row,
    several,
)

from InteractiveSegLib.networks.cues import CHANNELS, CueSettings, ShownPrompts, encode

ACROSS = math.hypot(1, 70)  # a step over the whole intensity range


def test_the_classical_answer_is_that_worked_out_by_hand():
    image = torch.full((1, 1, 1, 5), 0.4)  # of one intensity, which then says nothing
    cues = encode(image, CUBES, ShownPrompts(everywhere(image), row(5, 1), row(5, 4)))
    assert on_row(cues, "intensities") == pytest.approx([0] * 5, abs=1e-6)
    # distances 1 0 1 2 3 to the object and 4 3 2 1 0 to the background
    assert on_row(cues, "classical answer") == pytest.approx([0.6, 0.6, 0.2, -0.2, -0.6], abs=1e-5)


@pytest.mark.parametrize(("contrast", "surest"), [(7.0, 100.0), (70.0, 100.0), (70.0, 10.0), (7.0, 7.0)])
def test_the_classical_answer_weighs_the_intensities_in_and_is_bounded(contrast, surest):
    image = torch.zeros(1, 1, 1, 5)
    image[..., 3:] = 1.0
    settings = CueSettings(contrast=contrast, surest=surest)
    cues = encode(image, CUBES, ShownPrompts(everywhere(image), row(5, 0), row(5, 4)), settings)
    across = math.hypot(1, contrast)
    to_background = [3 + across, 2 + across, 1 + across, 1, 0]
    to_foreground = [0, 1, 2, 2 + across, 3 + across]
    dark = 0.5 * math.log(
        density(0, [0], SHARP) / FLOOR
    )  # half of the log-odds of an intensity that one side has alone
    odds = [
        0.2 * (b - f) + (dark if i < 3 else -dark)
        for i, (f, b) in enumerate(zip(to_foreground, to_background, strict=True))
    ]
    expected = [max(-surest, min(surest, value)) for value in odds]
    assert on_row(cues, "classical answer") == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("depth", [10.0, 2.0])
def test_an_object_that_nobody_marked_is_as_deep_in_its_box_as_the_settings_say(depth):
    image = torch.full((1, 1, 1, 9), 0.4)
    cues = encode(image, CUBES, ShownPrompts(row(9, 2, 3, 4, 5, 6), row(9), row(9)), CueSettings(box_depth=depth))
    # 1 2 3 2 1 from outside, where no object can be
    inside = [-0.2 * (depth - d) for d in (1, 2, 3, 2, 1)]
    assert on_row(cues, "classical answer") == pytest.approx([-10, -10, *inside, -10, -10], abs=1e-5)
    assert not channel(cues, "geodesic foreground").any()


def test_an_object_that_nobody_marked_has_the_intensities_of_its_box():
    image = line(0.0, 0.0, 1.0, 1.0, 0.0, 0.0)
    settings = CueSettings(contrast=0.0)
    cues = encode(image, CUBES, ShownPrompts(row(6, 1, 2, 3), row(6), row(6)), settings)
    # 50 marks of which 1/3 are dark: 0.9 * sqrt(2) / 3 * 50^(-1/5) is above the most that is smoothed
    own, rest = [0, 63, 63], [0]
    bright = 0.5 * math.log(density(63, own, SOFT) / FLOOR)
    dark = 0.5 * math.log(density(0, own, SOFT) / density(0, rest, SHARP))
    expected = [-10, dark - 0.2 * 9, bright - 0.2 * 8, bright - 0.2 * 9, -10, -10]
    assert on_row(cues, "classical answer") == pytest.approx(expected, abs=1e-4)


def test_no_voxel_of_a_box_is_farther_from_its_object_than_the_box_reaches():
    image = torch.full((1, 1, 1, 31), 0.4)
    box = row(31, *range(1, 30))
    answer = on_row(encode(image, CUBES, ShownPrompts(box, row(31, 2), row(31))), "classical answer")
    # 13 from the mark and 15 from both sides; 26 from the mark, which count as 20, and 2 from the side; outside the box
    assert [answer[15], answer[28]] == pytest.approx([0.4, -3.6], abs=1e-5)
    assert answer[30] == pytest.approx(-0.2 * 28, abs=1e-5)


def test_the_settings_move_the_cues():
    image = torch.full((1, 1, 1, 5), 0.4)
    settings = CueSettings(reach=4.0, edge_reach=5.0, distance_share=1.0)
    cues = encode(image, CUBES, ShownPrompts(everywhere(image), row(5, 1), row(5, 4)), settings)
    assert on_row(cues, "distance foreground") == pytest.approx([math.exp(-abs(i - 1) / 4) for i in range(5)])
    assert on_row(cues, "geodesic foreground") == pytest.approx([math.exp(-abs(i - 1) / 5) for i in range(5)])
    assert on_row(cues, "classical answer") == pytest.approx([3, 3, 1, -1, -3], abs=1e-5)


# several objects


def test_the_object_is_weighed_against_every_other_kind_by_itself():
    image = torch.full((1, 1, 1, 9), 0.4)
    cues = encode(image, CUBES, ShownPrompts(everywhere(image), row(9, 1), row(9, 4), None, [row(9, 6), row(9, 8)]))
    expected = [
        -0.2 * abs(i - 1) - math.log(sum(math.exp(-0.2 * abs(i - mark)) for mark in (4, 6, 8))) for i in range(9)
    ]
    assert on_row(cues, "classical answer") == pytest.approx(expected, abs=1e-5)


def test_every_object_has_its_own_intensities():
    image = line(0.0, 32 / 63, 1.0, 0.0, 32 / 63, 1.0)
    settings = CueSettings(contrast=0.0, surest=100.0)
    cues = encode(image, CUBES, ShownPrompts(everywhere(image), row(6, 0), row(6, 1), None, [row(6, 2)]), settings)
    expected = []
    for i, level in enumerate([0, 32, 63] * 2):
        # foreground, background and the other object lie at 0, 1 and 2 and have the levels 0, 32 and 63
        own, *rest = (
            0.5 * math.log(density(level, [mark], SHARP)) - 0.2 * abs(i - at) for at, mark in enumerate((0, 32, 63))
        )
        expected.append(own - math.log(sum(map(math.exp, rest))))
    assert on_row(cues, "classical answer") == pytest.approx(expected, abs=1e-4)


def test_another_object_of_the_same_intensity_far_away_does_not_lower_the_odds_as_background_would():
    """Two bright objects, 15 dark voxels between them: the marks are at 1 on one, at 12 between, at 25 on the other."""
    image = line(*[1.0] * 5, *[0.0] * 15, *[1.0] * 10)
    unbounded = CueSettings(surest=1000.0)

    def answer(background, *others):
        cues = encode(image, CUBES, ShownPrompts(everywhere(image), row(30, 1), background, None, others), unbounded)
        return on_row(cues, "classical answer")

    alone, as_other, as_background = (answer(row(30, 12)), answer(row(30, 12), row(30, 25)), answer(row(30, 12, 25)))
    # at 3, two steps from the mark; the dark mark is 8 steps and an edge away, the other object's 20 and two edges
    bright = math.log(density(63, [63], SHARP))
    own, dark, other = (
        0.5 * bright - 0.2 * 2,
        0.5 * math.log(FLOOR) - 0.2 * (8 + ACROSS),
        0.5 * bright - 0.2 * (20 + 2 * ACROSS),
    )
    assert alone[3] == pytest.approx(own - dark, abs=1e-3)
    assert as_other[3] == pytest.approx(own - math.log(math.exp(dark) + math.exp(other)), abs=1e-3)
    assert alone[3] - as_other[3] < 1e-3
    lowered = 0.5 * math.log(density(63, [0, 63], SOFT) / FLOOR)  # as if half of the background were bright
    assert lowered > 5
    assert alone[3] - as_background[3] == pytest.approx(lowered, abs=1e-3)
    assert max(as_other[20:]) < -10  # and what is marked as the other object is not this one


def test_marks_on_other_objects_are_background_in_all_other_channels():
    images, boxes, foreground, background, start = several()
    other = background.clone()
    other[..., :9] = False
    other[0, 1, 2, 7] = True
    one_kind = cues_of(images, boxes, foreground, background | other, start)
    two_kinds = cues_of(images, boxes, foreground, background & ~other, start, other)
    torch.testing.assert_close(two_kinds[:, :-1], one_kind[:, :-1], rtol=0, atol=0.005)  # the way is near enough
    assert (two_kinds[:, -1] - one_kind[:, -1]).abs().max() > 0.5


def test_images_with_other_kinds_of_marks_missing_are_seen_as_one_by_one():
    given = kinds_missing()
    together = cues_of(*given)
    assert torch.isfinite(together).all()
    for index, expected in enumerate(together):
        assert torch.equal(cues_of(*(values[index : index + 1] for values in given))[0], expected)
    answered = together[:, -1].flatten(1).any(dim=1)
    assert answered.tolist() == [True, True, False, False, True, True]


def test_an_object_without_marks_makes_no_difference_to_another():
    given = several()
    nothing = torch.zeros_like(given[2])
    assert torch.equal(cues_of(*given, nothing, nothing), cues_of(*given))


def test_the_order_of_other_objects_makes_no_difference():
    *given, one, other = kinds_missing()
    torch.testing.assert_close(cues_of(*given, one, other), cues_of(*given, other, one))


def odd_cases():
    generator = torch.Generator().manual_seed(6)
    image, full, none = (
        torch.rand((1, 3, 4, 5), generator=generator),
        marked((3, 4, 5)).logical_not(),
        marked((3, 4, 5)),
    )
    corner, middle, end = (marked((3, 4, 5), at) for at in ((0, 0, 0), (1, 2, 2), (2, 3, 4)))
    inner, voxel = (
        marked((3, 4, 5), *((1, j, i) for j in (1, 2) for i in (1, 2, 3))),
        torch.ones(1, 1, 1, 1, dtype=bool),
    )
    single = image[:, :1, :1, :1]
    return {
        "object unmarked among several": (image, full, none, corner, middle, end),
        "only other objects marked": (image, full, none, none, middle, end),
        "object unmarked in a box among several": (image, inner, none, corner, middle, end),
        "one voxel each": (image, full, corner, middle, end),
        "one voxel each of a constant image": (torch.full_like(image, 0.3), full, corner, middle, end),
        "a constant image of nothing": (torch.zeros_like(image), inner, corner, none, end),
        "everything marked": (image, full, full, none, none),
        "everything marked as all there is": (image, full, full, full, full),
        "everything marked as another object": (image, full, none, none, full),
        "marks outside the box": (image, inner, corner, end, corner),
        "a box of one voxel": (image, middle, none, none, none),
        "a box of nothing": (image, none, corner, middle, end),
        "an image of one voxel": (single, voxel, voxel, ~voxel, ~voxel),
        "an image of one voxel, marked twice": (single, voxel, voxel, ~voxel, voxel),
    }


@pytest.mark.parametrize("case", odd_cases().values(), ids=odd_cases().keys())
@pytest.mark.parametrize("spacing_mm", [SPACING_KJI_MM, (0.5, 40.0, 0.5)])
def test_odd_marks_give_cues_that_are_finite_and_bounded(case, spacing_mm):
    image, box, foreground, background, *others = case
    cues = cues_of(image, box, foreground, background, None, *others, spacing_mm=spacing_mm)
    assert torch.isfinite(cues).all()
    assert cues[:, -1].abs().max() <= 10
    for name in CHANNELS[3:7]:
        assert 0 <= channel(cues, name).min() <= channel(cues, name).max() <= 1
    for name in CHANNELS[7:9]:
        assert channel(cues, name).abs().max() <= 1
