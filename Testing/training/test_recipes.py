import json
from copy import deepcopy
from dataclasses import replace
from functools import cache, partial

import pytest
import torch
from safetensors import safe_open
from training_runs import logged, same

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.networks.architectures import ARCHITECTURES
from InteractiveSegLib.networks.checkpoint import load_network, save_network
from InteractiveSegLib.networks.pcnet import PCNet
from InteractiveSegLib.networks.pnet import PNet
from InteractiveSegLib.networks.prompted import PromptedNetwork
from InteractiveSegLib.progress import finish
from InteractiveSegLib.training import recipes
from InteractiveSegLib.training.procedural.procedural import BinaryTasks
from InteractiveSegLib.training.process_group import ProcessGroup
from InteractiveSegLib.training.prompted_tasks import PromptedTasks
from InteractiveSegLib.training.recipes import train_steps

CPU = torch.device("cpu")


@pytest.fixture
def tiny_recipes(monkeypatch):
    """Two steps each; the stage in 2D of those in two stages takes three times as many."""

    def tasks(dimensions):
        return lambda count, seed, maps: BinaryTasks(dimensions, 1, count, seed, 20**3 if dimensions == 3 else 40**2)

    def sessions(dimensions):
        return lambda *given: PromptedTasks(tasks(dimensions)(*given))

    thin = partial(PNet, channels=2, compressed=2)
    small = {
        "pnet": {"network": partial(PNet, channels=4), "tasks": tasks(2)},
        "pcnet": {"network": partial(PCNet, channels=2, compressed=2), "tasks": tasks(3)},
        "prompted": {"network": partial(PromptedNetwork, (4, 4)), "tasks": sessions(3)},
    }
    slices = replace(
        recipes.RECIPES["prompted"].first, steps=6, network=small["prompted"]["network"], tasks=sessions(2)
    )
    small["prompted"]["first"] = slices
    small["pcnet"]["first"] = replace(recipes.RECIPES["pcnet"].first, steps=6, network=thin, tasks=tasks(2))
    for name, parts in small.items():
        monkeypatch.setitem(recipes.RECIPES, name, replace(recipes.RECIPES[name], steps=2, **parts))
    further = {**small["prompted"], "first": recipes.RECIPES["prompted"], "kept": 0.25}
    recipe = replace(recipes.WITH_LABEL_MAPS["prompted"], steps=2, **further)
    monkeypatch.setitem(recipes.WITH_LABEL_MAPS, "prompted", recipe)


@pytest.fixture
def maps(tmp_path):
    """A folder of one label map, which nothing reads here."""
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "a.nii.gz").write_bytes(b"")
    return tmp_path / "maps"


def averaged_in(folder):
    averaged = torch.load(folder / "checkpoint.pt", weights_only=True)["averaged"]
    return {key.removeprefix("module."): value for key, value in averaged.items() if key != "n_averaged"}


def recipe_in(folder, name="pcnet", steps=None, seed=3):
    return train_steps(name, folder, steps=steps, seed=seed, workers=0, device=CPU)


@pytest.mark.parametrize(
    ("name", "kind", "totals"),
    [("pnet", PNet, [2]), ("pcnet", PCNet, [6, 2]), ("prompted", PromptedNetwork, [6, 2])],
)
def test_a_recipe_writes_weights_that_can_be_loaded(tmp_path, tiny_recipes, name, kind, totals):
    reports = []
    path = finish(recipe_in(tmp_path, name), reports.append)
    assert path == tmp_path / f"{name}.safetensors"
    expected = [(done, total) for total in totals for done in range(1, total + 1)]
    assert [(progress.done, progress.total) for progress in reports] == expected
    network = load_network(tmp_path)
    assert type(network) is kind
    averaged = averaged_in(tmp_path)
    assert all(torch.equal(value, averaged[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize(("steps", "in_slices"), [(1, 3), (2, 6), (3, 9)])
def test_the_stage_in_slices_is_shortened_with_the_recipe_and_told_in_the_file(
    tmp_path, tiny_recipes, steps, in_slices
):
    path = finish(recipe_in(tmp_path, steps=steps))
    assert [step for step, _ in logged(tmp_path / "slices")] == list(range(in_slices))
    assert [step for step, _ in logged(tmp_path)] == list(range(steps))
    with safe_open(path, framework="pt") as file:
        facts = json.loads(file.metadata()["training"])
    assert (facts["steps"], facts["steps_in_slices"]) == (steps, in_slices)


def test_a_stage_in_slices_is_never_left_out(tmp_path, tiny_recipes, monkeypatch):
    recipe = recipes.RECIPES["pcnet"]
    monkeypatch.setitem(recipes.RECIPES, "pcnet", replace(recipe, steps=100, first=replace(recipe.first, steps=4)))
    finish(recipe_in(tmp_path, steps=1))
    assert len(logged(tmp_path / "slices")) == 1


def test_a_recipe_in_two_stages_goes_on_from_what_was_learnt_in_slices(tmp_path, tiny_recipes, monkeypatch):
    begun, real = [], recipes.train
    monkeypatch.setattr(
        recipes, "train", lambda network, *rest: begun.append(deepcopy(network)) or real(network, *rest)
    )
    finish(recipe_in(tmp_path))
    assert [network.dimensions for network in begun] == [2, 3]
    learnt = torch.load(tmp_path / "slices" / "checkpoint.pt", weights_only=True)["averaged"]
    weight = begun[1].blocks[2][1].conv.weight
    assert torch.equal(weight[:, :, 1], learnt["module.blocks.2.1.conv.weight"])
    assert not torch.equal(weight[:, :, 1], begun[0].blocks[2][1].conv.weight)
    assert not weight[:, :, [0, 2]].any()


@pytest.mark.parametrize(("device", "mixed"), [("cpu", False), ("cuda", True)])
def test_a_recipe_makes_the_batches_its_steps_take_in_mixed_precision_on_a_gpu_alone(
    tmp_path, tiny_recipes, monkeypatch, device, mixed
):
    begun, recipe = [], recipes.RECIPES["prompted"]

    def train(network, batches, loss, settings, *rest):
        begun.append((len(batches), settings.steps, settings.accumulated, settings.mixed_precision))
        yield from ()
        return network

    monkeypatch.setattr(recipes, "train", train)
    slices = replace(recipe.first, accumulated=3)
    monkeypatch.setitem(recipes.RECIPES, "prompted", replace(recipe, accumulated=2, first=slices))
    finish(train_steps("prompted", tmp_path, steps=2, seed=3, workers=0, device=torch.device(device)))
    assert begun == [(18, 6, 3, mixed), (4, 2, 2, mixed)]


@pytest.mark.parametrize("name", ["pnet", "prompted"])
def test_a_process_that_does_not_lead_writes_no_weights(tmp_path, tiny_recipes, monkeypatch, name):
    def train(network, *rest):
        yield from ()
        return network

    class Follower(ProcessGroup):
        leads = False

    monkeypatch.setattr(recipes, "train", train)
    monkeypatch.setattr(recipes, "ProcessGroup", Follower)
    assert finish(recipe_in(tmp_path, name)) == tmp_path / f"{name}.safetensors"
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The weights of a recipe that was never stopped."""

    @cache
    def weights():
        return load_network(finish(recipe_in(tmp_path_factory.mktemp("whole"))).parent)

    return weights


@pytest.mark.parametrize(
    ("stop", "left"), [(2, [6, 2]), (6, [2]), (7, [2]), (8, [])], ids=["in slices", "between", "in 3D", "at the end"]
)
def test_a_recipe_that_was_stopped_goes_on_with_its_stage(tmp_path, tiny_recipes, undisturbed, stop, left):
    """Stages as short as these have a checkpoint at their end alone, where a stop in between begins them anew."""
    run = recipe_in(tmp_path / "stopped")
    for _ in range(stop):
        next(run)
    run.close()
    assert not list((tmp_path / "stopped").glob("*.safetensors"))
    torch.manual_seed(100 + stop)  # whatever happens in between
    reports = []
    finish(recipe_in(tmp_path / "stopped"), reports.append)
    assert [progress.total for progress in reports] == [total for total in left for _ in range(total)]
    assert same(load_network(tmp_path / "stopped"), undisturbed())


def test_a_recipe_gives_the_same_weights_for_the_same_seed(tmp_path, tiny_recipes):
    def trained(folder, seed):
        finish(recipe_in(tmp_path / folder, "pnet", 1, seed))
        return load_network(tmp_path / folder)

    assert same(trained("a", 3), trained("b", 3))
    assert not same(trained("a", 3), trained("c", 4))


def test_every_recipe_is_of_a_network_that_can_be_saved_and_loaded(tmp_path):
    assert set(recipes.RECIPES) == set(ARCHITECTURES)
    for name, recipe in recipes.RECIPES.items():
        (tmp_path / name).mkdir()
        save_network(recipe.network(), tmp_path / name / "weights.safetensors", {})
        assert type(load_network(tmp_path / name)) is ARCHITECTURES[name]


def test_every_stage_gives_its_weights_to_the_next():
    every = [*recipes.RECIPES.values(), *recipes.WITH_LABEL_MAPS.values()]
    begun = [recipe for recipe in every if recipe.first is not None]
    assert begun
    for recipe in begun:
        while recipe.first is not None:
            recipe.carried(recipe.first.network(), recipe.network())
            recipe = recipe.first


@pytest.mark.parametrize(
    ("name", "folder", "text"),
    [
        ("pnet", "maps", "pnet learns from procedural images alone"),
        ("prompted", "nowhere", "nowhere is not a folder of label maps"),
        ("prompted", "empty", "empty holds no label maps"),
    ],
)
def test_label_maps_that_are_of_no_use_are_refused_before_any_work(tmp_path, name, folder, text):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=text):
        finish(
            train_steps(name, tmp_path / "new", steps=1, seed=0, workers=0, device=CPU, label_maps=tmp_path / folder)
        )
    assert not (tmp_path / "new").exists()


def test_with_label_maps_the_training_goes_on_and_keeps_a_share_of_the_weights_before(
    tmp_path, tiny_recipes, maps, monkeypatch
):
    seen, recipe = [], recipes.WITH_LABEL_MAPS["prompted"]

    def tasks(count, seed, given):
        seen.append(given)
        return recipe.tasks(count, seed, given)

    monkeypatch.setitem(recipes.WITH_LABEL_MAPS, "prompted", replace(recipe, tasks=tasks))
    folder, reports = tmp_path / "new", []
    steps = train_steps("prompted", folder, steps=2, seed=0, workers=0, device=CPU, label_maps=maps)
    path = finish(steps, reports.append)
    assert [progress.total for progress in reports] == [6] * 6 + [2] * 2 + [2] * 2
    with safe_open(path, framework="pt") as file:
        facts = json.loads(file.metadata()["training"])
    assert facts["data"] == "procedural, and the shapes of 1 label map"
    assert (facts["steps"], facts["steps_in_slices"], facts["steps_in_volumes"]) == (2, 6, 2)
    assert [[file.name for file in given.paths] for given in seen] == [["a.nii.gz"]]
    before, after = averaged_in(folder / "volumes"), averaged_in(folder)
    for key, value in load_network(folder).state_dict().items():
        torch.testing.assert_close(value, 0.75 * after[key] + 0.25 * before[key], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("name", "steps", "text"),
    [("unet", 2, "'unet'.*pnet, pcnet, prompted"), ("pnet", 0, "steps 0"), ("pnet", -1, "steps -1")],
)
def test_a_recipe_that_cannot_be_followed_is_refused_before_any_work(tmp_path, name, steps, text):
    with pytest.raises(InputError, match=text):
        finish(train_steps(name, tmp_path / "new", steps=steps, seed=0, workers=0, device=CPU))
    assert not (tmp_path / "new").exists()
