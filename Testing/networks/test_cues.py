import math

import pytest
import torch
from marked_rows import (
    CUBES,
    FLOOR,
    SHAPE_KJI,
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

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.networks.cues import CHANNELS, CueSettings, ShownPrompts, encode


def test_there_is_a_channel_for_each_name():
    cues = cues_of(*several())
    assert cues.shape == (3, len(CHANNELS), *SHAPE_KJI)
    assert cues.dtype == torch.float32
    assert torch.isfinite(cues).all()


def test_the_intensities_of_what_was_found_replace_those_of_the_box():
    """Half of the box is bright, and only that was found in it: then what is dark is not the object."""
    image = torch.full((1, 4, 8, 8), 0.2)
    image[:, :, :, 4:] = 0.8
    box = torch.zeros(image.shape, dtype=torch.bool)
    box[:, 1:3, 1:7, 1:7] = True
    nothing = torch.zeros_like(box)
    channel_of = CHANNELS.index("intensities of the box")

    def odds(found):
        return encode(image, (1.0, 1.0, 1.0), ShownPrompts(box, nothing, nothing, found=found))[0, channel_of]

    plain, bright = odds(None), odds(0.7 * (box & (image > 0.5)).float())
    assert plain[1, 2, 2] == pytest.approx(float(plain[1, 2, 6]), abs=0.05)  # as bright as dark, inside and outside
    assert bright[1, 2, 2] < -0.8
    assert bright[1, 2, 6] > 0.1
    torch.testing.assert_close(odds(torch.zeros_like(image)), plain)  # nothing found: the box is what is known


def test_image_and_start_mask_are_passed_on():
    images, boxes, foreground, background, start = several()
    cues = cues_of(images, boxes, foreground, background, start)
    assert torch.equal(cues[:, CHANNELS.index("image")], images)
    assert torch.equal(cues[:, CHANNELS.index("start mask")], start)
    without = cues_of(images, boxes, foreground, background, None)
    assert not without[:, CHANNELS.index("start mask")].any()


def test_a_box_is_shown_only_where_one_was_drawn():
    images, boxes, *marks = several()
    shown = cues_of(images, boxes, *marks)[:, CHANNELS.index("box")]
    assert torch.equal(shown[:2], boxes[:2].float())
    assert not shown[2].any()


def test_distances_are_in_units_of_the_finest_spacing():
    shape = (3, 1, 4)
    image, mark, nothing = torch.zeros(1, *shape), marked(shape, (0, 0, 0)), marked(shape)
    cues = encode(image, (1.5, 1.0, 0.5), ShownPrompts(everywhere(image), mark, nothing))
    straight = -10 * channel(cues, "distance foreground")[:, 0].log()
    along = -20 * channel(cues, "geodesic foreground")[:, 0].log()
    # a step is 3 along k and 1 along i; along the image that along k is 3 sqrt(3), and diagonal steps alone cut corners
    assert straight[2].tolist() == pytest.approx([6, 37**0.5, 40**0.5, 45**0.5], rel=1e-4)
    expected = [2 * 27**0.5, 27**0.5 + 28**0.5, 2 * 28**0.5, 2 * 28**0.5 + 1]
    assert along[2].tolist() == pytest.approx(expected, rel=1e-4)
    assert along[0].tolist() == pytest.approx([0, 1, 2, 3], abs=1e-4)


@pytest.mark.parametrize("factor", [0.25, 16.0])
def test_large_objects_are_seen_as_small_ones(factor):
    given = several()
    scaled = [factor * mm for mm in SPACING_KJI_MM]
    assert torch.equal(cues_of(*given), cues_of(*given, spacing_mm=scaled))


def test_swapped_spacing_gives_other_cues():
    given = several()
    for swapped in ((0.75, 3.0, 0.5), (3.0, 0.5, 0.75), (0.5, 0.75, 3.0)):
        assert (cues_of(*given) - cues_of(*given, spacing_mm=swapped)).abs().max() > 0.05


def test_across_an_edge_is_as_far_as_the_contrast_says():
    image = line(0.0, 0.0, 0.5, 0.5)
    cues = encode(image, (9.0, 9.0, 2.0), ShownPrompts(everywhere(image), row(4, 0), row(4)))
    across = math.hypot(1, 70 * 0.5)
    expected = [math.exp(-d / 20) for d in (0, 1, 1 + across, 2 + across)]
    assert on_row(cues, "geodesic foreground") == pytest.approx(expected)
    assert on_row(cues, "distance foreground") == pytest.approx([math.exp(-d / 10) for d in range(4)])


def test_voxels_outside_the_box_are_marked_background():
    image, box = torch.zeros(1, 1, 1, 7), row(7, 1, 2, 3, 4, 5)
    cues = encode(image, CUBES, ShownPrompts(box, row(7), row(7, 3)))
    steps = (0, 1, 1, 0, 1, 1, 0)
    assert on_row(cues, "distance background") == pytest.approx([math.exp(-d / 10) for d in steps])
    assert on_row(cues, "geodesic background") == pytest.approx([math.exp(-d / 20) for d in steps])
    without = encode(image, CUBES, ShownPrompts(box, row(7), row(7)))
    assert on_row(without, "distance background") == pytest.approx([math.exp(-d / 10) for d in (0, 1, 2, 3, 2, 1, 0)])


def test_without_prompts_there_is_the_image_alone():
    image, nothing = torch.rand(1, *SHAPE_KJI), marked(SHAPE_KJI)
    cues = encode(image, SPACING_KJI_MM, ShownPrompts(everywhere(image), nothing, nothing))
    assert torch.equal(cues[0, 0], image[0])
    assert not cues[0, 1:].any()


@pytest.mark.parametrize("kind", ["foreground", "background"])
def test_marks_of_one_kind_give_no_classical_answer(kind):
    image = line(0.1, 0.9, 0.2, 0.8, 0.5)
    marks = {"foreground": row(5), "background": row(5), kind: row(5, 1)}
    cues = encode(image, CUBES, ShownPrompts(everywhere(image), **marks))
    other = {"foreground": "background", "background": "foreground"}[kind]
    for name in ("intensities", "classical answer", f"geodesic {other}", f"distance {other}"):
        assert not channel(cues, name).any()
    assert on_row(cues, f"distance {kind}") == pytest.approx([math.exp(-abs(i - 1) / 10) for i in range(5)])


# intensities


def test_a_box_alone_gives_intensities():
    image = line(0.0, 0.0, 1.0, 1.0, 0.0)
    cues = encode(image, CUBES, ShownPrompts(row(5, 2, 3), row(5), row(5)))
    for name in ("intensities of the box", "intensities"):
        assert on_row(cues, name) == pytest.approx([-1, -1, 1, 1, -1])


def test_the_intensities_of_the_box_are_those_within_and_without_it_whatever_is_marked():
    image = line(1.0, 0.0, 0.0, 1.0, 0.0, 0.0)
    cues = encode(image, CUBES, ShownPrompts(row(6, 0, 1, 2, 3), row(6, 1), row(6, 3)))
    dark = math.log(density(0, [0, 63], SOFT) / density(0, [0], SHARP)) / 3
    assert on_row(cues, "intensities of the box") == pytest.approx([1, dark, dark, 1, dark, dark], abs=1e-5)
    everything = encode(image, CUBES, ShownPrompts(everywhere(image), row(6, 1), row(6, 3)))
    assert not channel(everything, "intensities of the box").any()


def test_the_odds_of_an_intensity_are_those_worked_out_by_hand():
    image = line(0.0, 1.0, 1.0, 0.0, 1.0)
    cues = encode(image, CUBES, ShownPrompts(everywhere(image), row(5, 0, 1), row(5, 2)))
    bright = math.log(density(63, [0, 63], SOFT) / density(63, [63], SHARP)) / 3
    assert -1 < bright < 0
    assert on_row(cues, "intensities") == pytest.approx([1, bright, bright, 1, bright], abs=1e-5)


def test_the_more_marks_there_are_the_less_their_intensities_are_smoothed():
    """32 marks of a standard deviation of 6 levels: 0.9 * 6 * 32^(-1/5) = 2.7 levels; those of one level the least."""
    image = line(*[25 / 63] * 16, *[37 / 63] * 16, *[31 / 63] * 16)
    settings = CueSettings(bound=20.0)
    cues = encode(image, CUBES, ShownPrompts(everywhere(image), row(48, *range(32)), row(48, *range(32, 48))), settings)
    either = 64 * (0.5 + 0.5 * math.exp(-0.5 * (12 / 2.7) ** 2)) / (2.7 * math.sqrt(2 * math.pi))
    middle = 64 * math.exp(-0.5 * (6 / 2.7) ** 2) / (2.7 * math.sqrt(2 * math.pi))
    foreground = [either + FLOOR] * 32 + [middle + FLOOR] * 16
    background = [density(25, [31], SHARP)] * 32 + [density(31, [31], SHARP)] * 16
    expected = [math.log(f / b) / 20 for f, b in zip(foreground, background, strict=True)]
    assert on_row(cues, "intensities") == pytest.approx(expected, abs=1e-4)


def test_the_box_counts_as_some_marks_beside_those_drawn():
    image = line(1.0, 0.0, 0.0, 1.0, 0.0, 0.0)
    box, settings = row(6, 0, 1, 2, 3), CueSettings(prior=2.0)
    cues = encode(image, CUBES, ShownPrompts(box, row(6, 0), row(6)), settings)
    # within the box half are dark: 1 of 3 marks in all; without it all are
    dark = math.log(density(0, [0, 63, 63], SOFT) / density(0, [0], SHARP)) / 3
    assert on_row(cues, "intensities") == pytest.approx([1, dark, dark, 1, dark, dark], abs=1e-5)
    # marks on the dark side of both kinds: 2 of 3 of the object's; 5 of 6 of the others, as the voxels without the box
    # are marks themselves and their intensities count as 2 more
    cues = encode(image, CUBES, ShownPrompts(box, row(6, 1), row(6, 2, 3)), settings)
    own, rest = [0, 0, 63], [0] * 5 + [63]
    dark, bright = (math.log(density(at, own, SOFT) / density(at, rest, SOFT)) / 3 for at in (0, 63))
    assert on_row(cues, "intensities") == pytest.approx([bright, dark, dark, bright, dark, dark], abs=1e-5)


def test_intensities_of_the_marks_count_and_the_odds_are_bounded():
    dark, grey, bright = 0.2, 0.55, 0.9
    image = line(bright, dark, bright - 0.03, dark + 0.03, grey)
    for marks, sign in (((0, 1), 1), ((1, 0), -1)):
        foreground, background = (row(5, column) for column in marks)
        odds = on_row(encode(image, CUBES, ShownPrompts(everywhere(image), foreground, background)), "intensities")
        assert odds[:4] == pytest.approx([sign, -sign, sign, -sign])
        assert odds[4] == pytest.approx(0, abs=0.05)  # nobody marked it
    assert cues_of(*several())[:, CHANNELS.index("intensities")].abs().max() <= 1


# images, shapes and batches


@pytest.mark.parametrize("shape_kji", [SHAPE_KJI, (1, 8, 11)], ids=["stacks", "single slices"])
def test_a_batch_is_as_its_images_one_by_one(shape_kji):
    given = several(3, shape_kji)
    together = cues_of(*given)
    for index, expected in enumerate(together):
        assert torch.equal(cues_of(*(values[index : index + 1] for values in given))[0], expected)


def test_other_images_of_a_batch_make_no_difference():
    given = several()
    others = [values.clone() for values in given]
    for values in others:
        values[1:] = ~values[1:] if values.dtype == torch.bool else 1 - values[1:]
    assert torch.equal(cues_of(*given)[0], cues_of(*others)[0])


@pytest.mark.parametrize("thickness_mm", [0.1, 9.0])
def test_a_single_slice_does_not_depend_on_its_thickness(thickness_mm):
    given = several(2, (1, 8, 11))
    expected = cues_of(*given, spacing_mm=(0.5, 0.75, 0.5))
    assert torch.equal(cues_of(*given, spacing_mm=(thickness_mm, 0.75, 0.5)), expected)


def test_the_inputs_are_not_changed():
    given = kinds_missing()
    before = [values.clone() for values in given]
    cues_of(*given)
    assert all(torch.equal(one, other) for one, other in zip(given, before, strict=True))


@pytest.mark.parametrize("wrong", range(1, 7))
def test_shapes_that_do_not_go_together_are_refused(wrong):
    given = [*several(), *torch.zeros(2, *several()[0].shape, dtype=torch.bool)]
    given[wrong] = given[wrong].movedim(1, 2)
    with pytest.raises(InputError, match=r"\(3, 8, 5, 11\).*do not match"):
        cues_of(*given)


def test_images_without_a_batch_and_spacing_of_other_axes_are_refused():
    given = several()
    with pytest.raises(InputError, match="do not match"):
        cues_of(*(values[0] for values in given))
    with pytest.raises(InputError, match=r"spacing \(0.75, 0.5\) do not match"):
        cues_of(*given, spacing_mm=(0.75, 0.5))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_an_image_that_is_not_finite_is_refused(value):
    given = several()
    given[0][2, 1, 2, 3] = value
    with pytest.raises(InputError, match="NaN"):
        cues_of(*given)
