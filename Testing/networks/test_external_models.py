"""External models: TorchScript with a card, alone or in a MONAI bundle, from the folder to the mask."""

import copy
import gc
import json
import warnings
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from blobs import SHAPE_KJI, blob_volume, dice, ellipsoid, noisy
from tiny_models import CARD, Strided, Threshold, TwoLogits, bundle, folder, tiny, trusted
from torch.nn import functional as F

from InteractiveSegLib.cli import main
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry, Volume
from InteractiveSegLib.image.image_io import read_labelmap, write_image
from InteractiveSegLib.networks.checkpoint import load_network, save_network
from InteractiveSegLib.networks.cues import CHANNELS
from InteractiveSegLib.networks.external import ExternalNetwork, LogOddsHead
from InteractiveSegLib.networks.pnet import PNet
from InteractiveSegLib.networks.predict import foreground_probability
from InteractiveSegLib.progress import finish
from InteractiveSegLib.prompts.scribbles import BACKGROUND, Scribbles
from InteractiveSegLib.segmenting.session import ImageSession
from InteractiveSegLib.segmenting.settings import BifsegSettings

pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
    pytest.mark.usefixtures("warm_models"),
]

BOX = BoundingBox((2, 4, 6), (11, 17, 21))
CUBES = (1.0, 1.0, 1.0)
ALONG_THE_LAST_AXIS = tiny("return x - torch.roll(x, [1], [4])")


def channels(shape=(5, 6, 7), seed=0):
    return torch.rand((1, len(CHANNELS), *shape), generator=torch.Generator().manual_seed(seed))


def session_on(network, volume=None, box=BOX, marks=None):
    session = ImageSession(volume or blob_volume(), network)
    session.set_box(1, box)
    if marks is not None:
        session.add_scribbles(Scribbles.from_labelmap(marks))
    return session


def refusal(path):
    with pytest.raises(InputError) as caught:
        load_network(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("model", "outputs", "factor"), [(Threshold(), 1, 1.0), (TwoLogits(), 2, 2.0)])
def test_at_the_start_the_answer_is_the_model_s_own(tmp_path, model, outputs, factor):
    network = load_network(folder(tmp_path, model, {**CARD, "outputs": outputs, "name": "mine", "licence": "MIT"}))
    assert isinstance(network, ExternalNetwork)
    assert (network.takes_prompts, network.training) == (True, False)
    assert (network.card.name, network.card.licence) == ("mine", "MIT")
    given = channels()
    features = finish(network.feature_steps(given, CUBES))
    own = factor * Threshold()(given[:, :1]).detach()[0, 0]
    torch.testing.assert_close(features[0, 0], own)
    assert torch.equal(foreground_probability(network.block6, features[0]), torch.sigmoid(features[0, 0]))
    torch.testing.assert_close(network(given, CUBES)[0].softmax(dim=0)[1], torch.sigmoid(own))


def test_the_model_sees_the_channels_of_its_card_in_their_order(tmp_path):
    names = ["distance background", "image", "classical answer"]
    model = Threshold(3)
    model.convolution.weight.data = torch.tensor([1.0, 10.0, 100.0]).reshape(1, 3, 1, 1, 1)
    network = load_network(folder(tmp_path, model, {**CARD, "channels": names}))
    given = channels()
    expected = given[:, CHANNELS.index(names[0])] + 10 * given[:, 0] + 100 * given[:, -1] - 10
    torch.testing.assert_close(finish(network.feature_steps(given, CUBES))[:, 0], expected)
    with pytest.raises(InputError, match=r"expected \(B, 10, K, J, I\), got \(1, 3"):
        finish(network.feature_steps(given[:, :3], CUBES))


def test_sides_are_padded_to_the_multiple_and_the_answer_cropped(tmp_path):
    network = load_network(folder(tmp_path, Strided(), {**CARD, "multiple_of": 4}))
    given = channels((1, 6, 7))
    features = finish(network.feature_steps(given, CUBES))
    assert features.shape == (1, 2, 1, 6, 7)
    padded = F.pad(given[:, :1], (0, 1, 0, 2, 0, 3), mode="replicate")
    torch.testing.assert_close(features[:, :1], Strided()(padded).detach()[:, :, :1, :6, :7])


def test_a_bundle_sees_slices_last_as_monai_loads_images(tmp_path):
    given = channels()
    image = given[:, 0]
    plain = load_network(folder(tmp_path / "plain", ALONG_THE_LAST_AXIS))
    monai = load_network(bundle(tmp_path / "bundle", ALONG_THE_LAST_AXIS))
    torch.testing.assert_close(finish(plain.feature_steps(given, CUBES))[:, 0], image - image.roll(1, 3))
    torch.testing.assert_close(finish(monai.feature_steps(given, CUBES))[:, 0], image - image.roll(1, 1))


def test_a_bundle_may_name_channels_and_multiples(tmp_path):
    shape = {"num_channels": 2, "value_range": [-8, 8], "spatial_shape": ["16*n", "16*n", "16 * n"]}
    named = {"interactiveseg_channels": ["image", "box"], "name": "spleen"}
    card = load_network(bundle(tmp_path / "one", TwoLogits(2), shape, 2, **named)).card
    assert (card.channels, card.outputs, card.multiple_of, card.name) == (("image", "box"), 2, 16, "spleen")
    own = {"interactiveseg_multiple_of": 2}
    assert load_network(bundle(tmp_path / "two", Strided(), {"value_range": [0, 1.0]}, **own)).card.multiple_of == 2
    assert load_network(bundle(tmp_path / "three")).card.channels == ("image",)


def test_a_copy_is_independent_and_moves(tmp_path):
    network = load_network(folder(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        twin = copy.deepcopy(network).to(torch.device("cpu")).to(torch.float32)
    twin.block6.bias.data += 1
    twin.block6.gain.data.zero_()
    given = channels()
    assert network.block6.bias == 0
    torch.testing.assert_close(network(given, CUBES)[:, 1], Threshold()(given[:, :1]).detach()[:, 0])
    learnt = {name for name, value in network.named_parameters() if value.requires_grad}
    assert learnt == {"block6.gain", "block6.bias", "block6.share"}


def test_a_frozen_or_traced_model_is_one_too(tmp_path):
    card = json.dumps(CARD)
    for name, model in (
        ("frozen", torch.jit.freeze(torch.jit.script(Threshold().eval()))),
        ("traced", torch.jit.trace(Threshold().eval(), torch.zeros(1, 1, 8, 8, 8))),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.json").write_text(card)
        model.save(str(tmp_path / name / "model.ts"))
        trusted(tmp_path / name / "model.ts")
        session = session_on(load_network(tmp_path / name))
        finish(session.segment(adapt=False))
        assert dice(session.labelmap() == 1, ellipsoid()) > 0.9


def test_the_head_on_columns_is_the_head():
    head = LogOddsHead()
    head.gain.data, head.bias.data, head.share.data = torch.tensor(2.0), torch.tensor(-1.0), torch.tensor(0.5)
    features = torch.tensor([[3.0, 0.0], [4.0, -2.0]])
    assert head.on_columns(features).tolist() == [[[0, 0], [2 * 3 - 5 + 10 * 4, -5 - 10 * 2]]]
    assert torch.equal(head(features[None, :, :, None]).squeeze(-1), head.on_columns(features))


@pytest.mark.parametrize("kind", [folder, bundle])
def test_a_session_goes_from_box_to_scribbles_to_fine_tuning(tmp_path, kind):
    network = load_network(kind(tmp_path))
    before = copy.deepcopy(network.state_dict())
    assert BifsegSettings.for_network(network).grid.max_voxels == 64**3
    session = session_on(network)
    finish(session.segment(adapt=False))
    assert dice(session.labelmap() == 1, ellipsoid()) > 0.9
    marks = np.zeros(SHAPE_KJI, np.uint8)
    marks[6, 10, 9:18], marks[6, 5:7, 8] = 1, BACKGROUND
    session.add_scribbles(Scribbles.from_labelmap(marks))
    plain = finish(session.segment(adapt=False)).objects[1].probability
    adapted = finish(session.segment()).objects[1].probability
    assert not np.array_equal(plain, adapted)
    np.testing.assert_array_equal(session.labelmap()[marks > 0] == 1, marks[marks > 0] == 1)
    assert dice(session.labelmap() == 1, ellipsoid()) > 0.9
    np.testing.assert_array_equal(finish(session.segment()).objects[1].probability, adapted)
    for state in (network.state_dict(), session.segmenter._network.state_dict()):
        assert all(torch.equal(value, before[key]) for key, value in state.items())


def test_scribbles_teach_a_model_that_cannot_see_them(tmp_path):
    """Two blobs, equally bright, in one box: the model calls both foreground, and the user means one."""
    shape = (10, 16, 32)
    wanted, other = (ellipsoid(shape, (5, 8, i), (4, 5, 6)) for i in (8, 23))
    marks = np.zeros(shape, np.uint8)
    marks[5, 8, 5:12], marks[5, 8, 20:27], marks[5, 2:14, 15] = 1, BACKGROUND, BACKGROUND
    volume = Volume(noisy(wanted | other), Geometry(shape, np.eye(4)))
    session = session_on(load_network(folder(tmp_path)), volume, BoundingBox((0, 1, 1), (10, 15, 31)), marks)
    finish(session.segment(adapt=False))
    before = session.probability(1)
    finish(session.segment())
    after = session.probability(1)
    assert before[other].mean() > 0.9
    assert after[other].mean() < 0.6
    assert after[wanted].mean() > 0.9


def test_neither_print_nor_warning_of_a_model_is_heard(tmp_path, capfd):
    folder(tmp_path, tiny('print("a model speaks")\n    return x'))
    capfd.readouterr()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network = load_network(tmp_path)
        network(channels(), CUBES)
    assert capfd.readouterr() == ("", "")


def test_the_command_line_takes_the_folder(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    folder(Path("own é"))
    geometry = blob_volume().geometry
    write_image(Path("image.nrrd"), noisy(ellipsoid()), geometry)
    words = ["segment", "image.nrrd", "--box", "6", "4", "2", "21", "17", "11", "-o", "mask.nrrd", "--model", "own é"]
    capfd.readouterr()
    assert main(words) == 0
    output, error = capfd.readouterr()
    assert output.startswith("label 1: ")
    assert (output.count("\n"), error) == (1, "")
    assert dice(read_labelmap("mask.nrrd", geometry) == 1, ellipsoid()) > 0.9
    Path("own é/model.json").unlink()
    assert main(words) == 2
    output, error = capfd.readouterr()
    assert (output, error.count("\n")) == ("", 1)
    assert "model.json is missing" in error


@pytest.mark.parametrize(
    ("card", "text"),
    [
        ("{", "model.json is not valid JSON"),
        ("[1]", "model.json must be a JSON object, not a list"),
        ({**CARD, "spatial_axes": 2}, 'model.json states "spatial_axes": 2; it must be 3'),
        ({"channels": ["image"], "outputs": 1}, '"spatial_axes": None'),
        ({**CARD, "channels": "image"}, "channels 'image'; they must be a list"),
        ({**CARD, "channels": []}, "must be a list of names"),
        ({**CARD, "channels": ["image", "clicks", 3]}, "unknown channels ['clicks', 3]; known are image, box, "),
        ({**CARD, "channels": ["image", "box"]}, "model.ts fails on an input of (1, 2, 16, 17, 19), with 2 channels"),
        ({**CARD, "outputs": 3}, "states 3 outputs; it must be 1"),
        ({**CARD, "outputs": True}, "states True outputs"),
        (
            {**CARD, "outputs": 2},
            "returns (1, 1, 16, 17, 19) for an input of (1, 1, 16, 17, 19); its card promises (1,",
        ),
        ({**CARD, "multiple_of": 0}, "multiple_of 0; it must be an integer from 1 to 128"),
        ({**CARD, "multiple_of": 2.5}, "multiple_of 2.5"),
    ],
)
def test_a_card_that_does_not_fit_is_refused(tmp_path, card, text):
    assert text in refusal(folder(tmp_path, card=card))


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (tiny("return x[:, :, 1:]"), "returns (1, 1, 15, 17, 19)"),
        (tiny("return x, x"), "returns a tuple"),
        (tiny("return x > 0"), "returns torch.bool; logits are"),
        (tiny("return x / x.std()"), "5168 NaN or infinite values"),
        (tiny('raise ValueError("no such\\nthing")'), "as its card says: no such"),
        (tiny("return x * mm", "x, mm"), "as its card says: forward() is missing value for argument 'mm'"),
        (Strided(), "a multiple of 1 as its card says: "),
    ],
)
def test_a_model_that_does_not_keep_to_its_card_is_refused(tmp_path, model, text):
    message = refusal(folder(tmp_path, model))
    assert str(tmp_path / "model.ts") in message
    assert text in message


def test_the_process_of_a_model_that_was_collected_in_a_cycle_serves_the_next(tmp_path):
    place = folder(tmp_path)
    for _ in range(2):  # a process that was idle before would be kept in place of the first one
        network = load_network(place)
        network.model.itself = network.model
        del network
        gc.collect()
    assert isinstance(load_network(place), ExternalNetwork)


@pytest.mark.parametrize(
    ("inputs", "outputs", "others", "text"),
    [
        ({"num_channels": 4}, 1, {}, "an input of 4 channels in [0, 1]; for anything but an image in [0, 1] it must"),
        ({"value_range": [-1000, 1000]}, 1, {}, "1 channels in [-1000, 1000]"),
        ({}, 1, {"interactiveseg_channels": ["image", "box"]}, "2 interactiveseg_channels, but num_channels is 1"),
        ({}, 1, {"interactiveseg_channels": ["scan"]}, "unknown channels ['scan']"),
        ({}, 5, {}, "states 5 outputs"),
        ({}, 1, {"network_data_format": {"inputs": {}}}, "does not state network_data_format.inputs.<first>.num_ch"),
        ({}, 1, {"interactiveseg_multiple_of": "16"}, "multiple_of '16'"),
    ],
)
def test_a_bundle_that_does_not_fit_is_refused(tmp_path, inputs, outputs, others, text):
    message = refusal(bundle(tmp_path, None, inputs, outputs, **others))
    assert f"the card {tmp_path / 'configs' / 'metadata.json'} " in message
    assert text in message


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.999])
def test_a_model_cut_short_or_of_another_kind_is_refused(tmp_path, kept):
    path = folder(tmp_path) / "model.ts"
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    assert "model.ts cannot be read as TorchScript: the file is cut short, or of another kind" in refusal(tmp_path)
    torch.save(Threshold().state_dict(), path)
    trusted(path)
    assert refusal(tmp_path).endswith("failed locating file constants.pkl: file not found")


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        (b"torch.conv3d(", b"torch.konv3d(", "Unknown builtin op: aten::konv3d"),
        (b"torch.conv3d(", b"ops.vendor.conv3d(", "Unknown builtin op: vendor::conv3d"),
        (b"10\n", b"999\n", "Attempted to read a PyTorch file with version 999, but the maximum supported version"),
    ],
)
def test_a_model_for_another_pytorch_is_refused_with_the_line_that_tells(tmp_path, old, new, text):
    path = folder(tmp_path) / "model.ts"
    with ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    with ZipFile(path, "w") as archive:
        for name, content in files.items():
            if name.endswith("/version"):
                content = b"10\n"
            archive.writestr(name, content.replace(old, new) if name.endswith((".py", "/version")) else content)
    trusted(path)
    assert f"model.ts cannot be read as TorchScript: {text}" in refusal(tmp_path)


def test_one_model_a_folder(tmp_path):
    folder(tmp_path)
    save_network(PNet(4), tmp_path / "own.safetensors", {})
    assert "holds 1 .safetensors files and model.ts; exactly one is expected" in refusal(tmp_path)
    (tmp_path / "own.safetensors").unlink()
    bundle(tmp_path)
    assert "holds 0 .safetensors files and model.ts and models/model.ts" in refusal(tmp_path)
    (tmp_path / "models" / "model.ts").unlink()
    (tmp_path / "model.ts").unlink()
    assert "holds 0 .safetensors files; exactly one is expected: a .safetensors file, model.ts, or" in refusal(tmp_path)


def test_a_model_from_elsewhere_is_not_written_as_one_of_ours(tmp_path):
    with pytest.raises(InputError, match="To keep a model from elsewhere, copy its folder"):
        save_network(load_network(folder(tmp_path)), tmp_path / "own.safetensors", {})
    assert not (tmp_path / "own.safetensors").exists()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Traceback of TorchScript\nRuntimeError: CUDA out of memory. Tried to allocate 9 GiB", torch.OutOfMemoryError),
        ("cuDNN error: CUDNN_STATUS_ALLOC_FAILED", torch.OutOfMemoryError),
        ("x", InputError),
        ("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried", InputError),
    ],
)
def test_a_full_device_is_told_from_a_wrong_model(tmp_path, text, kind):
    """The model fails on whatever is not the small image that it is tried on."""
    fails = f"if x.size(2) < 16:\n        raise ValueError({text!r})\n    return x"
    network = load_network(folder(tmp_path, tiny(fails)))
    with pytest.raises(kind):
        finish(network.feature_steps(channels(), CUBES))
