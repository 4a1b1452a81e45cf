"""Networks that learn from scribbles."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scribbled_rings import GEOMETRY, SHAPE, image, scribbles, truth, write_case, write_cases

from InteractiveSegLib.errors import InputError, OutputError
from InteractiveSegLib.image.geometry import Geometry, Volume
from InteractiveSegLib.image.image_io import write_image, write_labelmap
from InteractiveSegLib.image.metrics import dice
from InteractiveSegLib.learning.automatic_card import AutomaticCard, is_automatic
from InteractiveSegLib.learning.automatic_model import AutomaticModel
from InteractiveSegLib.learning.automatic_network import AutomaticNetwork, in_windows
from InteractiveSegLib.learning.held_out import HeldOut, helpful_parts, largest_parts
from InteractiveSegLib.learning.organ_layout import ALL
from InteractiveSegLib.learning.scribble_batches import ScribbleBatches, ScribblePatches
from InteractiveSegLib.learning.scribble_folder import ScribbleSource, folder_steps
from InteractiveSegLib.learning.scribble_lesson import ScribbleLesson, scribble_lesson
from InteractiveSegLib.learning.scribble_objective import ScribbleLossSettings, ScribbleObjective
from InteractiveSegLib.learning.scribble_set import split_patients
from InteractiveSegLib.learning.scribble_training import ScribbleSettings
from InteractiveSegLib.networks.checkpoint import load_network
from InteractiveSegLib.networks.scribble_losses import UNMARKED
from InteractiveSegLib.progress import finish
from InteractiveSegLib.system.process_lock import locked_folder
from InteractiveSegLib.training.trainer import TrainingDivergedError

CPU = torch.device("cpu")
QUICK = ScribbleSettings(
    steps=75,
    learning_rate=2e-2,
    widths=(4, 8, 8),
    patches=ScribblePatches((16, 32), (1, 4), augmentation=None),
    loss=ScribbleLossSettings(crf=0.02, attentive=0.02),
    attention="model.1.submodule.0",
    validations=3,
)

ONE_STEP = replace(QUICK, steps=1, validations=1)


def taught(folder, output, settings=QUICK, seen=None, **source):
    steps = folder_steps(ScribbleSource(folder, folder, patient="p[0-9]", **source), output, settings, CPU)
    return finish(steps, None if seen is None else seen.append)


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """A training on six images of three patients, what it reported, and its folder."""
    folder = tmp_path_factory.mktemp("rings")
    seen = []
    found = taught(write_cases(folder / "data", labels=True), folder / "out", seen=seen, masks=folder / "data")
    return found, [each.text for each in seen], folder


def test_it_finds_what_was_never_drawn_in_full(ended):
    found, _, folder = ended
    model = AutomaticModel(folder / "out")
    volume = Volume(image(9), GEOMETRY, "new")
    labels = model.labelmap(finish(model.probabilities_steps(volume)))
    assert dice(labels == 1, truth(9) == 1) > 0.7
    assert dice(labels == 2, truth(9) == 2) > 0.5
    own = found.training.network
    assert np.mean(own.labelmap(own.probabilities(volume)) == labels) > 0.99  # but for what is no largest part


def test_it_says_what_is_learnt_and_how_long_it_will_take(ended):
    found, texts, _ = ended
    last = texts[-1]
    for word in ("marks ", "crf ", "attentive ", "similarity ", "validation Dice ", "less than a minute left"):
        assert word in last
    assert "the network learns from 4 images of 2 patients" in found.notes
    assert (
        "the checkpoint is chosen on 2 validation images: 2 by the full mask, the others by their marks" in found.notes
    )


def test_the_checkpoint_is_the_best_on_validation_and_the_card_says_so(ended):
    found, _, folder = ended
    curve = found.training.curve
    assert list(curve) == [25, 50, 75]
    assert found.training.score == max(curve.values()) == curve[found.training.step]
    card = AutomaticCard.read(folder / "out" / "model.json")
    assert card.labels == {1: "label 1", 2: "label 2"}
    assert card.dimensions == 2
    assert card.facts["step"] == found.training.step
    assert card.facts["settings"]["steps"] == 75
    assert is_automatic(folder / "out")
    assert not is_automatic(folder)


@pytest.mark.slow
def test_it_goes_on_where_it_was_stopped_and_ends_the_same(ended, tmp_path):
    _, _, folder = ended
    steps = folder_steps(
        ScribbleSource(folder / "data", folder / "data", patient="p[0-9]", masks=folder / "data"), tmp_path, QUICK, CPU
    )
    for progress in steps:
        if progress.text.startswith("marks") and progress.done == 35:
            break
    steps.close()
    again = taught(folder / "data", tmp_path, masks=folder / "data")
    first = ended[0].training
    assert again.training.curve == first.curve
    for name, value in first.network.state_dict().items():
        assert torch.equal(value, again.training.network.state_dict()[name]), name


def test_full_masks_belong_to_images_whatever_words_the_names_of_the_scribbles_hold(tmp_path):
    for name in ("scans/p{}_image", "drawn/p{}_image"):
        for seed in range(3):
            path = tmp_path / f"{name.format(seed)}.nii.gz"
            path.parent.mkdir(exist_ok=True)
            write_image(path, image(seed) if name[0] == "s" else scribbles(seed), GEOMETRY)
    (tmp_path / "full").mkdir()
    for seed in range(3):
        write_labelmap(tmp_path / "full" / f"p{seed}_label.nii.gz", truth(seed), GEOMETRY)
    source = ScribbleSource(tmp_path / "scans", tmp_path / "drawn", tmp_path / "full")
    found = finish(folder_steps(source, tmp_path / "out", ONE_STEP, CPU))
    assert (
        "the checkpoint is chosen on 1 validation image: 1 by the full mask, the others by their marks" in found.notes
    )


def test_validation_that_shows_no_object_chooses_nothing(tmp_path):
    for seed in range(3):
        marks = np.where(scribbles(seed) == 255, 255, 0) if seed == 2 else scribbles(seed)
        write_case(tmp_path / "data", f"p{seed}", seed, marks.astype(np.uint8))
    seed = next(seed for seed in range(99) if split_patients(["p0", "p1", "p2"], 1, seed)[1] == ["p2"])
    found = taught(tmp_path / "data", tmp_path / "out", replace(ONE_STEP, seed=seed), validation=1)
    assert found.training.step == ONE_STEP.steps
    assert not found.training.curve
    assert "1 validation case is left out, since nothing but background is known there" in found.notes
    assert "no validation case shows an object: the last checkpoint is used" in found.notes
    assert json.loads((tmp_path / "out" / "model.json").read_text())["training"]["validation_dice"] is None


def test_a_folder_is_not_gone_on_with_by_another_training(ended):
    folder = ended[2]
    with pytest.raises(InputError, match="contains a training with other images, scribbles or settings"):
        taught(folder / "data", folder / "out", replace(QUICK, steps=100), masks=folder / "data")


def test_images_whose_grid_was_corrected_are_another_training(tmp_path):
    taught(write_cases(tmp_path / "data", 2), tmp_path / "out", ONE_STEP)
    write_cases(tmp_path / "data", 2, geometry=Geometry(SHAPE, np.diag([-1.5, -1.5, 6.0, 1.0])))
    with pytest.raises(InputError, match="contains a training with other images, scribbles or settings"):
        taught(tmp_path / "data", tmp_path / "out", ONE_STEP)


def test_a_folder_in_use_or_without_locks_is_named(tmp_path):
    write_cases(tmp_path / "data", 2)
    lock = locked_folder(tmp_path / "out", "held")
    with pytest.raises(InputError, match=r"another process is already training in .*out"):
        taught(tmp_path / "data", tmp_path / "out", ONE_STEP)
    lock.release()
    (tmp_path / "out" / "lock").unlink()
    (tmp_path / "out" / "lock").mkdir()
    with pytest.raises(OutputError, match=r"cannot write .*out: Is a directory"):
        taught(tmp_path / "data", tmp_path / "out", ONE_STEP)


def test_what_torch_says_of_a_full_disk_is_an_output_error(tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise RuntimeError("[enforce fail at inline_container.cc:668] . unexpected pos 64 vs 0\nframe #0")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OutputError, match=r"cannot write .*: \[enforce fail at inline_container\.cc:668\]"):
        taught(write_cases(tmp_path / "data"), tmp_path / "out", ONE_STEP)


def test_a_model_of_the_prompted_kind_is_not_made_of_it(ended):
    with pytest.raises(InputError, match="marks images by itself and takes no prompts"):
        load_network(ended[2] / "out")


def test_a_damaged_card_is_refused(ended, tmp_path):
    card = json.loads((ended[2] / "out" / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps(card | {"window": 0}))
    with pytest.raises(InputError, match="a window of 0"):
        AutomaticCard.read(tmp_path / "model.json")
    (tmp_path / "model.json").write_text(json.dumps({"kind": "automatic"}))
    with pytest.raises(InputError, match="cannot be read"):
        AutomaticCard.read(tmp_path / "model.json")


def test_volumes_are_learnt_as_volumes_and_single_slices_as_slices(tmp_path):
    cube = Geometry((20, 20, 20), np.diag([-1.0, -1.0, 1.0, 1.0]))
    marks = np.zeros((20, 20, 20), np.uint8)
    marks[10, 10, 5:15], marks[2, 2, 2:18] = 1, 255
    array = np.zeros((20, 20, 20), np.float32)
    array[5:15, 5:15, 5:15] = 1
    write_case(tmp_path / "cubes", "a", 0, marks, geometry=cube, array=array)
    quick = replace(QUICK, steps=1)
    assert taught(tmp_path / "cubes", tmp_path / "out3", quick).training.network.dimensions == 3
    flat = Geometry((1, 20, 20), np.diag([-1.0, -1.0, 1.0, 1.0]))
    write_case(tmp_path / "slices", "a", 0, marks[10:11] + marks[2:3], geometry=flat, array=array[10:11])
    found = taught(tmp_path / "slices", tmp_path / "out2", quick)
    assert found.training.network.dimensions == 2
    assert (
        "there is no validation, since 1 patient is too few to set any aside: the last checkpoint is used"
        in found.notes
    )
    model = AutomaticModel(tmp_path / "out2")
    assert model.labelmap(finish(model.probabilities_steps(Volume(array[10:11], flat, "x")))).shape == (1, 20, 20)


def test_attention_on_a_layer_that_does_not_exist_is_refused(tmp_path):
    write_cases(tmp_path / "data", 2)
    with pytest.raises(InputError, match=r"UNet has no layer 'model.7' .*model.1"):
        taught(tmp_path / "data", tmp_path / "out", replace(QUICK, attention="model.7"))


def test_a_loss_that_is_no_number_stops_the_training(tmp_path):
    write_cases(tmp_path / "data", 2)
    with pytest.raises(TrainingDivergedError, match=r"the loss is (nan|inf)"):
        taught(tmp_path / "data", tmp_path / "out", replace(QUICK, learning_rate=1e30))


def test_a_label_that_only_validation_would_show_is_refused(tmp_path):
    for seed in range(4):
        marks = scribbles(seed)
        marks = marks if seed == 2 else np.where(marks == 2, 0, marks).astype(np.uint8)
        write_case(tmp_path / "data", f"p{seed}", seed, marks)
    seed = next(seed for seed in range(99) if split_patients(["p0", "p1", "p2", "p3"], 1, seed)[1] == ["p2"])
    with pytest.raises(InputError, match="label 2 is marked only in p2, which the seed"):
        taught(tmp_path / "data", tmp_path / "out", replace(QUICK, seed=seed), validation=1)


@pytest.mark.parametrize("label", [1, 2])
def test_thin_strokes_survive_on_coarser_voxels(label):
    network = QUICK.network([1, 2], (6.0, 2.0, 2.0), True)
    marks = {label: np.zeros(SHAPE, bool), 0: np.zeros(SHAPE, bool)}
    marks[label][1, 10, 5:9], marks[0][1, 11, 4:10], marks[0][2, 0, :] = True, True, True
    lesson = scribble_lesson(Volume(image(0), GEOMETRY, "x"), marks, network, [label])
    assert lesson.marks.shape == (3, 20, 20)
    assert sorted(np.unique(lesson.marks).tolist()) == [UNMARKED, 0, label]
    assert int((lesson.marks == label).sum()) == 3  # 4 voxels of 1 mm, more of whose neighbours are background
    assert lesson.known.tolist() == [True, label == 1, label == 2]


def test_batches_depend_on_seed_and_number_alone():
    rng = np.random.default_rng(0)
    lesson = ScribbleLesson(
        rng.random((3, 40, 40), dtype=np.float32), rng.integers(-1, 3, (3, 40, 40)).astype(np.int8), np.ones(3, bool)
    )
    made = [ScribbleBatches([lesson], 0, 9, 5, ScribblePatches((16, 32), (1, 2)))[n] for n in (4, 4, 5)]
    assert torch.equal(made[0]["image"], made[1]["image"])
    assert torch.equal(made[0]["marks"], made[1]["marks"])
    assert not torch.equal(made[0]["image"], made[2]["image"])
    assert set(made[0]["marks"].unique().tolist()) <= {UNMARKED, 0, 1, 2}
    assert made[0]["image"].shape == (2, 1, 32, 32)
    assert made[2]["done"].item() == pytest.approx(5 / 9)


@pytest.mark.parametrize(("done", "learns"), [(0.1, False), (0.5, True)])
def test_similarities_learn_nothing_in_the_first_part(done, learns):
    network = QUICK.network([1, 2], (6.0, 1.0, 1.0), True).train()
    objective = ScribbleObjective(ScribbleLossSettings(attentive=1.0, held=0.3))
    marks = torch.full((2, 32, 32), UNMARKED)
    marks[:, :4] = 0
    batch = {
        "image": torch.rand(2, 1, 32, 32),
        "marks": marks,
        "known": torch.ones(2, 3, dtype=torch.bool),
        "done": torch.tensor(done),
    }
    objective(network, batch).backward()
    gain = network.attention.gain.grad
    assert (gain is not None and bool(gain != 0)) == learns
    assert 0 < objective.terms["similarity"] < 1


@pytest.mark.parametrize("pixel_mm", [0.75, 1.5, 3.0])
def test_the_crf_weighs_as_much_on_every_grid(pixel_mm):
    network = QUICK.network([1], (9.0, pixel_mm, pixel_mm), True)
    settings = ScribbleLossSettings(crf=1.0, ramp=0.0, fading=0.0)
    found = _crf_term(network, settings, 96, 1.0)
    assert found == pytest.approx(0.5 * 80 * 0.81, rel=0.15)  # 0.81: the mean weight of neighbours


@pytest.mark.parametrize(("done", "weight"), [(0.0, 0.0), (0.2, 0.5), (0.45, 1.0), (0.6, 0.8), (1.0, 0.0)])
def test_the_crf_comes_and_goes(done, weight):
    network = QUICK.network([1], (9.0, 1.5, 1.5), True)
    full = _crf_term(network, ScribbleLossSettings(crf=1.0, ramp=0.0, fading=0.0), 32, done)
    found = _crf_term(network, ScribbleLossSettings(crf=1.0, ramp=0.4, fading=0.5), 32, done)
    assert full > 1
    assert found == pytest.approx(weight * full)


def _crf_term(network, settings, side, done):
    """The term of a network with a probability of a half everywhere, on a constant slice with one mark."""
    marks = torch.full((1, side, side), UNMARKED)
    marks[0, 0, 0] = 0
    batch = {"image": torch.ones(1, 1, side, side), "marks": marks, "known": torch.ones(1, 2, dtype=torch.bool)}
    objective = ScribbleObjective(settings)
    with torch.no_grad():
        network.head.weight.zero_(), network.head.bias.zero_()
        objective(network, {**batch, "done": torch.tensor(done)})
    return objective.terms["crf"]


def test_scores_are_of_what_is_known():
    marks = {0: np.zeros((1, 2, 4), bool), 1: np.zeros((1, 2, 4), bool)}
    marks[0][0, 0], marks[1][0, 1, :2] = True, True
    held = HeldOut.of_marks(Volume(np.zeros((1, 2, 4)), Geometry((1, 2, 4), np.eye(4)), "x"), marks)
    found = np.array([[[1, 0, 0, 0], [1, 1, 1, 1]]])
    assert held.scores(found) == {1: pytest.approx(2 * 2 / (3 + 2))}  # two beyond the marks do not count


def test_the_largest_part_is_kept_of_the_labels_that_are_named():
    labels = np.zeros((1, 3, 9), int)
    labels[0, 0, :3], labels[0, 0, 5], labels[0, 2, :3], labels[0, 2, 8] = 1, 1, 2, 2
    kept = largest_parts(labels, [1])
    assert int((kept == 1).sum()) == 3
    assert int((kept == 2).sum()) == 4


def test_what_lies_together_is_kept_rather_than_what_is_large():
    labels = np.zeros((1, 4, 20), int)
    labels[0, :, :8] = 1  # large, but alone
    labels[0, :, 10:14], labels[0, :, 14:18] = 1, 2
    kept = largest_parts(labels, [ALL])
    assert int((kept == 1).sum()) == 16
    assert int((kept == 2).sum()) == 16
    assert int((largest_parts(labels, [1]) == 1).sum()) == 32


class _Copyist(AutomaticNetwork):
    """Finds the labels that the image itself holds."""

    def probabilities(self, volume):
        return np.stack([volume.array_kji == label for label in (0, *self.labels)]).astype(np.float32)


def helpful(shown, truth):
    """``helpful_parts`` of one case with two organs, where the network finds what is ``shown``."""
    volume = Volume(shown.astype(np.float32), Geometry(shown.shape, np.eye(4)), "x")
    return helpful_parts(_Copyist([1, 2], (1.0, 1.0, 1.0), (4, 8)), [HeldOut.of_mask(volume, truth, (0, 1, 2))])


def test_the_parts_to_keep_are_those_that_score_best_and_organs_that_touch_are_one_where_the_cases_do_not_tell():
    truth = np.zeros((1, 8, 24), int)
    truth[0, 2:6, 4:8], truth[0, 2:6, 8:12] = 1, 2
    assert helpful(truth, truth) == (ALL, 1, 2)
    shown = truth.copy()
    shown[0, 7, 23] = 1
    assert helpful(shown, truth) == (ALL, 1, 2)
    truth[0, 2:6, 18:21] = 2  # of two parts, one of which touches nothing
    assert helpful(truth, truth) == ()
    shown = truth.copy()
    shown[0, 7, 23] = 1
    assert helpful(shown, truth) == (1,)


@pytest.mark.parametrize("sides", [(40, 50), (7, 33), (1, 40)])
def test_slices_are_seen_in_several_sizes_and_the_mean_counts(sides):
    """A network that finds how much a pixel differs from the one before it: the less, the larger it sees the slice."""

    def slopes(windows):
        return windows.diff(dim=-1, append=2 * windows[..., -1:] - windows[..., -2:-1])

    ramp = (0.01 * torch.arange(float(sides[1]))).expand(2, 1, *sides)
    found = in_windows(slopes, ramp, 16)
    assert found.shape == ramp.shape
    sizes = [max(1, round(sides[1] * size)) / sides[1] for size in (0.85, 1.0, 1.18, 1.35)]
    assert float(found[..., 8:-8].mean()) == pytest.approx(np.mean([0.01 / size for size in sizes]), rel=0.01)
    volume = in_windows(slopes, ramp[:, :, None], 16)
    assert volume[..., 2:-2].numpy() == pytest.approx(0.01, rel=0.02)
