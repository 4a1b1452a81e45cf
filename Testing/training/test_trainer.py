from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset
from training_runs import logged, same

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.networks.losses import dice_cross_entropy
from InteractiveSegLib.progress import finish
from InteractiveSegLib.training.trainer import TrainingDivergedError, TrainSettings, train, warm_cosine

CPU = torch.device("cpu")
SETTINGS = TrainSettings(steps=11, checkpoint_every=4, averaging=0.8)


class BrightSquares(Dataset):
    """Numbered batches: the label is where the image is bright."""

    def __init__(self, length, poisoned=()):
        self.length, self.poisoned = length, poisoned

    def __len__(self):
        return self.length

    def __getitem__(self, number):
        if number >= self.length:
            raise IndexError(number)
        generator = torch.Generator().manual_seed(number)
        label = torch.zeros(3, 1, 8, 10)
        for one in label:
            row, column = torch.randint(0, 5, (2,), generator=generator).tolist()
            one[:, row : row + 4, column : column + 5] = 1
        image = 0.6 * label + 0.3 * torch.rand(label.shape, generator=generator)
        if number in self.poisoned:
            image[0, 0, 0, 0] = torch.nan
        return {"image": image, "label": label}


def tiny(seed=0, hidden=4):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, hidden, 3, padding=1), nn.BatchNorm2d(hidden), nn.ReLU(), nn.Dropout(0.3), nn.Conv2d(hidden, 2, 1)
    )


def steps_in(folder, settings=SETTINGS, network=None, batches=None, loss=dice_cross_entropy):
    batches = BrightSquares(settings.steps * settings.accumulated) if batches is None else batches
    return train(tiny() if network is None else network, batches, loss, settings, folder, CPU)


def stopped(folder, settings, after):
    run = steps_in(folder, settings)
    for _ in range(after):
        next(run)
    run.close()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The networks, trained and averaged, and the losses of a run that nobody stopped."""
    folder, network = tmp_path_factory.mktemp("whole"), tiny()
    averaged = finish(steps_in(folder, network=network))
    return network, averaged, logged(folder)


@pytest.mark.parametrize("stops", [[1], [3], [4], [5], [8], [10], [11], [2, 3, 6, 1]])
def test_a_run_that_was_stopped_goes_on_as_if_it_was_not(tmp_path, uninterrupted, stops):
    for count in stops:
        stopped(tmp_path, SETTINGS, count)
        torch.manual_seed(count + 100)  # whatever happens in between
    network = tiny(seed=99 if (tmp_path / "checkpoint.pt").exists() else 0)
    averaged = finish(steps_in(tmp_path, network=network))
    assert same(network, uninterrupted[0])
    assert same(averaged, uninterrupted[1])


@pytest.mark.parametrize("stops", [[3], [5], [2, 6, 1], [11]])
def test_a_run_of_several_batches_a_step_goes_on_as_if_it_was_not_stopped(tmp_path, stops):
    settings = replace(SETTINGS, accumulated=2)
    expected = finish(steps_in(tmp_path / "whole", settings))
    for count in stops:
        stopped(tmp_path / "parts", settings, count)
        torch.manual_seed(count + 100)
    assert same(finish(steps_in(tmp_path / "parts", settings)), expected)
    assert logged(tmp_path / "parts") == logged(tmp_path / "whole")


@pytest.mark.parametrize("stops", [[], [1], [5], [5, 2], [11]])
def test_each_step_is_logged_once(tmp_path, uninterrupted, stops):
    for count in stops:
        stopped(tmp_path, SETTINGS, count)
    finish(steps_in(tmp_path))
    assert [step for step, _ in logged(tmp_path)] == list(range(SETTINGS.steps))
    assert logged(tmp_path) == uninterrupted[2]


def test_a_run_that_was_killed_between_checkpoint_and_log_logs_no_step_twice(tmp_path, uninterrupted):
    stopped(tmp_path, SETTINGS, 4)
    with (tmp_path / "losses.csv").open("a") as file:
        file.writelines(["4,0.5\n", "5,0.5\n", "6,0."])  # the log is ahead of the checkpoint
    finish(steps_in(tmp_path))
    assert logged(tmp_path) == uninterrupted[2]


def test_a_run_begun_anew_begins_a_new_log(tmp_path, uninterrupted):
    finish(steps_in(tmp_path))
    (tmp_path / "checkpoint.pt").unlink()
    finish(steps_in(tmp_path))
    assert logged(tmp_path) == uninterrupted[2]


def test_a_run_that_is_done_is_not_repeated(tmp_path, uninterrupted):
    finish(steps_in(tmp_path))
    before = (tmp_path / "checkpoint.pt").read_bytes()
    assert list(steps_in(tmp_path)) == []
    assert same(finish(steps_in(tmp_path, network=tiny(seed=5))), uninterrupted[1])
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_a_checkpoint_beyond_the_steps_asked_for_is_refused(tmp_path):
    finish(steps_in(tmp_path))
    with pytest.raises(InputError, match="11 steps"):
        finish(steps_in(tmp_path, TrainSettings(steps=6)))
    assert len(logged(tmp_path)) == 11


def test_the_first_weights_decide_with_the_data(tmp_path, uninterrupted):
    assert same(finish(steps_in(tmp_path / "a")), uninterrupted[1])
    assert not same(finish(steps_in(tmp_path / "b", network=tiny(seed=1))), uninterrupted[1])


def test_worker_processes_make_no_difference(tmp_path, uninterrupted):
    settings = TrainSettings(steps=11, checkpoint_every=4, averaging=0.8, workers=1)
    assert same(finish(steps_in(tmp_path, settings)), uninterrupted[1])


def test_the_returned_network_is_averaged_and_in_eval_mode(uninterrupted):
    network, averaged, _ = uninterrupted
    assert not any(module.training for module in averaged.modules())
    assert not same(network, averaged)
    assert averaged.state_dict().keys() == network.state_dict().keys()


def test_the_average_is_that_worked_out_by_hand(tmp_path):
    network, seen = tiny(), []
    run = steps_in(tmp_path, TrainSettings(steps=3, averaging=0.75), network)
    averaged = finish(run, lambda _: seen.append(network[4].bias.detach().clone()))
    expected = 0.75 * (0.75 * seen[0] + 0.25 * seen[1]) + 0.25 * seen[2]
    torch.testing.assert_close(averaged[4].bias.detach(), expected)


def test_every_step_is_reported(tmp_path):
    reports = list(steps_in(tmp_path))
    assert [(progress.done, progress.total) for progress in reports] == [(n, 11) for n in range(1, 12)]
    assert [float(progress.text.split()[-1]) for progress in reports] == pytest.approx(
        [loss for _, loss in logged(tmp_path)], abs=1e-3
    )


def test_a_loss_that_is_not_a_number_stops_the_run_and_keeps_the_checkpoint(tmp_path, uninterrupted):
    run = steps_in(tmp_path, batches=BrightSquares(11, poisoned=(6,)))
    reports = []
    with pytest.raises(TrainingDivergedError, match="nan at step 6"):
        reports.extend(iter(run.__next__, None))
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert state["step"] == 4
    assert all(torch.isfinite(value).all() for value in state["network"].values())
    assert same(finish(steps_in(tmp_path)), uninterrupted[1])  # with sound data it goes on from there


def test_a_checkpoint_of_another_network_is_refused_and_kept(tmp_path):
    finish(steps_in(tmp_path))
    before = (tmp_path / "checkpoint.pt").read_bytes()
    with pytest.raises(InputError, match=r"checkpoint\.pt belongs to another network: .*size mismatch"):
        finish(steps_in(tmp_path, network=tiny(hidden=5)))
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_a_checkpoint_cut_short_is_refused(tmp_path, kept):
    finish(steps_in(tmp_path))
    path = tmp_path / "checkpoint.pt"
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(InputError, match=r"checkpoint\.pt cannot be read"):
        finish(steps_in(tmp_path))


@pytest.mark.parametrize(("accumulated", "needed"), [(1, 11), (2, 22), (3, 33)])
def test_too_few_batches_are_refused_before_any_work(tmp_path, accumulated, needed):
    settings = replace(SETTINGS, accumulated=accumulated)
    with pytest.raises(InputError, match=f"11 steps take {needed} batches, but there are only {needed - 1}"):
        finish(steps_in(tmp_path / "new", settings, batches=BrightSquares(needed - 1)))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("accumulated", [0, -1])
def test_steps_without_batches_are_refused_before_any_work(tmp_path, accumulated):
    with pytest.raises(InputError, match=f"accumulated {accumulated} must be at least 1"):
        finish(steps_in(tmp_path / "new", replace(SETTINGS, accumulated=accumulated), batches=BrightSquares(11)))
    assert not (tmp_path / "new").exists()


def test_a_folder_that_is_missing_is_made_and_holds_checkpoint_and_losses_only(tmp_path):
    finish(steps_in(tmp_path / "new" / "run"))
    assert sorted(file.name for file in (tmp_path / "new" / "run").iterdir()) == ["checkpoint.pt", "losses.csv"]


def test_the_loss_falls_on_a_task_that_can_be_learned(tmp_path):
    settings = TrainSettings(steps=120, learning_rate=2e-2)
    averaged = finish(steps_in(tmp_path, settings))
    losses = [loss for _, loss in logged(tmp_path)]
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])
    batch = BrightSquares(121)[120]
    with torch.no_grad():
        found = averaged(batch["image"]).argmax(dim=1, keepdim=True)
    assert (found == batch["label"]).float().mean() > 0.95


def test_the_learning_rate_warms_up_and_falls_to_nothing():
    assert 0 < warm_cosine(0.0) < 0.05
    assert warm_cosine(0.03) == pytest.approx(1)
    assert warm_cosine(0.515) == pytest.approx(0.5)
    assert warm_cosine(1.0) == pytest.approx(0, abs=1e-9)
    factors = [warm_cosine(n / 1000) for n in range(1001)]
    assert max(factors) <= 1
    assert factors[30:] == sorted(factors[30:], reverse=True)
    assert factors[:30] == sorted(factors[:30])


# mixed precision


def test_mixed_precision_multiplies_in_bfloat16_and_keeps_weights_and_losses_in_float32(tmp_path, uninterrupted):
    network, losses, products = tiny(), [], []

    def loss(network, batch):
        losses.append(dice_cross_entropy(network, batch))
        return losses[-1]

    network[4].register_forward_hook(lambda module, inputs, output: products.append(output.dtype))
    averaged = finish(steps_in(tmp_path, replace(SETTINGS, mixed_precision=True), network, loss=loss))
    assert set(products) == {torch.bfloat16}
    assert {value.dtype for value in losses} == {torch.float32}
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    for state in (network.state_dict(), averaged.state_dict(), saved["network"], saved["averaged"]):
        assert {value.dtype for value in state.values()} == {torch.float32, torch.int64}  # and a count of batches
        assert all(torch.isfinite(value).all() for value in state.values())
    exactly = [loss for _, loss in uninterrupted[2]]
    assert [loss for _, loss in logged(tmp_path)] == pytest.approx(exactly, abs=0.05)
    assert not same(averaged, uninterrupted[1])


def test_mixed_precision_is_off_unless_asked_for(tmp_path):
    network, products = tiny(), []
    network[4].register_forward_hook(lambda module, inputs, output: products.append(output.dtype))
    finish(steps_in(tmp_path, network=network))
    assert set(products) == {torch.float32}


def test_a_loss_that_looks_without_gradients_first_has_them_all_in_mixed_precision(tmp_path):
    """Some versions of torch remember the weights that were cast without gradients."""
    remembered = []

    def loss(network, batch):
        remembered.append(torch.is_autocast_cache_enabled())
        with torch.no_grad():
            network(batch["image"])
        return dice_cross_entropy(network, batch)

    network = tiny()
    next(steps_in(tmp_path, replace(SETTINGS, mixed_precision=True), network, loss=loss))
    assert remembered == [False]
    assert all(network[index].weight.grad.any() for index in (0, 1, 4))
