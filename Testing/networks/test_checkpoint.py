import json

import pytest
import torch
from safetensors.torch import save_file

from InteractiveSegLib.errors import InputError, OutputError
from InteractiveSegLib.networks import checkpoint
from InteractiveSegLib.networks.block_six import BlockSixNetwork
from InteractiveSegLib.networks.checkpoint import load_network, save_network
from InteractiveSegLib.networks.pcnet import PCNet
from InteractiveSegLib.networks.pnet import PNet

METADATA = {"architecture": "pnet", "config": json.dumps({"channels": 4}), "training": "{}"}


def tensors_of(network):
    return {key: value.contiguous() for key, value in network.state_dict().items()}


def model_folder(path, tensors, metadata):
    path.mkdir(exist_ok=True)
    save_file(tensors, path / "model.safetensors", metadata)
    return path


@pytest.mark.parametrize("network", [PNet(4), PNet(5, 3, 0.1), PCNet(4, 2), PCNet(4, None, 0.5)])
def test_a_network_comes_back_exactly(tmp_path, network):
    with torch.no_grad():
        for value in network.state_dict().values():
            value.copy_(torch.rand(value.shape) * 100)
    save_network(network, tmp_path / "own é.safetensors", {"steps": 12, "data": "procedural"})
    again = load_network(tmp_path)
    assert type(again) is type(network)
    assert again.config == network.config
    assert not again.training
    expected = network.state_dict()
    assert again.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[key]) for key, value in again.state_dict().items())
    assert [file.name for file in tmp_path.iterdir()] == ["own é.safetensors"]
    image = torch.rand(1, 1, *(6, 7, 8)[: network.dimensions])
    with torch.no_grad():
        assert torch.equal(again(image), network.eval()(image))


def test_the_training_is_recorded_in_the_file(tmp_path):
    path = tmp_path / "own.safetensors"
    save_network(PNet(4), path, {"steps": 12, "data": "procedural"})
    with checkpoint.safe_open(path, framework="pt") as file:
        assert json.loads(file.metadata()["training"]) == {"steps": 12, "data": "procedural"}


def test_writing_again_replaces_the_file(tmp_path):
    one, other = PNet(4), PNet(4)
    save_network(one, tmp_path / "own.safetensors", {})
    save_network(other, tmp_path / "own.safetensors", {})
    assert torch.equal(load_network(tmp_path).block6[1].weight, other.block6[1].weight)


def test_a_model_that_is_not_there_is_refused_with_those_that_are(tmp_path, monkeypatch):
    for name in ("pnet", "pcnet"):
        save_network(PNet(4), tmp_path / f"{name}.safetensors", {})
    monkeypatch.setattr(checkpoint, "SHIPPED", tmp_path)
    with pytest.raises(InputError, match=r"no model 'unet'.*\(ensemble, pcnet, pnet\)"):
        load_network("unet")
    assert isinstance(load_network("pnet"), PNet)


@pytest.mark.parametrize("count", [0, 2])
def test_a_folder_needs_exactly_one_file_of_weights(tmp_path, count):
    for number in range(count):
        save_network(PNet(4), tmp_path / f"{number}.safetensors", {})
    (tmp_path / "notes.txt").write_text("not weights")
    with pytest.raises(InputError, match=f"holds {count} .safetensors files"):
        load_network(tmp_path)


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.999])
def test_weights_cut_short_are_refused(tmp_path, kept):
    path = tmp_path / "own.safetensors"
    save_network(PNet(4), path, {})
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(InputError, match=r"own\.safetensors cannot be read"):
        load_network(tmp_path)


def test_a_file_that_holds_no_weights_is_refused(tmp_path):
    (tmp_path / "own.safetensors").write_text("hello, this is no network " * 20)
    with pytest.raises(InputError, match=r"own\.safetensors cannot be read"):
        load_network(tmp_path)


@pytest.mark.parametrize(
    ("network", "metadata", "text"),
    [
        (PNet(8), METADATA, "do not fit.*size mismatch"),
        (PCNet(4, None), METADATA, "do not fit.*size mismatch"),
        (PNet(4, 2), METADATA, "do not fit"),
        (PNet(4), None, "architecture None"),
        (PNet(4), {**METADATA, "architecture": "unet"}, "'unet'; known are pnet, pcnet, prompted"),
        (PNet(4), {"architecture": "pnet"}, "do not fit.*config"),
        (PNet(4), {**METADATA, "config": "{"}, "do not fit"),
        (PNet(4), {**METADATA, "config": "[4]"}, "do not fit"),
        (PNet(4), {**METADATA, "config": '{"width": 4}'}, "do not fit.*width"),
    ],
)
def test_weights_of_another_architecture_are_refused(tmp_path, network, metadata, text):
    with pytest.raises(InputError, match=text) as refusal:
        load_network(model_folder(tmp_path, tensors_of(network), metadata))
    assert "\n" not in str(refusal.value)


def test_weights_with_a_missing_tensor_are_refused(tmp_path):
    tensors = tensors_of(PNet(4))
    tensors.pop("block6.1.weight")
    with pytest.raises(InputError, match=r"do not fit.*block6\.1\.weight"):
        load_network(model_folder(tmp_path, tensors, METADATA))


def test_a_network_of_no_known_architecture_is_not_written(tmp_path):
    with pytest.raises(InputError, match="BlockSixNetwork is not one of the known"):
        save_network(BlockSixNetwork(2, 4, None, 0.3), tmp_path / "own.safetensors", {})
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_missing_is_named_and_nothing_is_left_behind(tmp_path):
    with pytest.raises(OutputError, match="none"):
        save_network(PNet(4), tmp_path / "none" / "own.safetensors", {})
    assert not list(tmp_path.iterdir())


def test_a_file_in_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(OutputError, match="file"):
        save_network(PNet(4), tmp_path / "file" / "own.safetensors", {})
    assert (tmp_path / "file").read_text() == "kept"


def test_when_writing_fails_the_old_weights_are_kept(tmp_path, monkeypatch):
    network = PNet(4)
    save_network(network, tmp_path / "own.safetensors", {})

    def half(tensors, path, metadata):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", half)
    with pytest.raises(OutputError, match=r"own\.safetensors: the disk is full"):
        save_network(PNet(4), tmp_path / "own.safetensors", {})
    assert [file.name for file in tmp_path.iterdir()] == ["own.safetensors"]
    assert torch.equal(load_network(tmp_path).block6[1].weight, network.block6[1].weight)


def test_the_ensemble_is_made_of_the_shipped_networks_and_is_no_file(tmp_path):
    network = load_network("ensemble")
    assert not network.training
    for part, name in ((network.prompted, "prompted"), (network.image_network, "pnet")):
        shipped = load_network(name).state_dict()
        assert all(torch.equal(shipped[key], value) for key, value in part.state_dict().items())
    with pytest.raises(InputError, match="Ensemble is not one of the known architectures"):
        save_network(network, tmp_path / "e.safetensors", {})
