"""A model that is a program runs only with the user's consent, and within limits of time and memory."""

import gc
import os
import stat
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest
import torch
from blobs import blob_volume, ellipsoid, noisy
from stopwatch import Stopwatch
from tiny_models import Threshold, bundle, end_idle_model, folder, scripted, tiny
from warm_worker import warm_worker_command

from InteractiveSegLib.casebook.casebook import Casebook
from InteractiveSegLib.cli import main
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.image_io import write_image
from InteractiveSegLib.learning.prompted_teacher import PromptedTeacher
from InteractiveSegLib.networks import external, script_model
from InteractiveSegLib.networks.checkpoint import load_network, trust_programs
from InteractiveSegLib.networks.cues import CHANNELS
from InteractiveSegLib.networks.external import load_external
from InteractiveSegLib.networks.model_card import read_card
from InteractiveSegLib.networks.model_trust import UntrustedModelError, is_trusted, settings_folder, trust
from InteractiveSegLib.networks.script_model import ScriptLimits, resident_bytes
from InteractiveSegLib.progress import finish
from InteractiveSegLib.prompts.prompts import Prompts
from InteractiveSegLib.system.python_process import library_command
from InteractiveSegLib.worker.blocking import BlockingWorker
from InteractiveSegLib.worker.job import JobCallbacks, Program
from InteractiveSegLib.worker.requests.segment_request import SegmentRequest

pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
    pytest.mark.usefixtures("warm_models"),
]

ENDLESS = "while True:\n        x = x + 0\n    return x"
AT_ONCE = "return x + torch.zeros([6000000000]).sum()"
BY_AND_BY = (
    "kept = [x]\n    while len(kept) < 100000:\n        kept.append(torch.ones([5000000]))\n    return x + kept[1][0]"
)
IN_LARGE = "if x.size(2) != 16:\n        while True:\n            x = x + 0\n    return x"
SMALL = ScriptLimits(memory=1 << 29, voxel_memory=0)
QUICK = replace(SMALL, seconds=3.0, voxel_seconds=0.0)


@pytest.fixture(autouse=True)
def nobody_is_trusted(tmp_path, monkeypatch):
    monkeypatch.setenv("INTERACTIVESEG_CONFIG", str(tmp_path / "of the person" / "settings"))


@pytest.fixture
def real_process(monkeypatch):
    """Memory is measured and limited for the process that a user would have, not for a fork."""
    gc.collect()
    end_idle_model()
    monkeypatch.setattr(script_model, "library_command", library_command)


def digest(path):
    return sha256(path.read_bytes()).hexdigest()


def strange(path, model=None, kind=folder):
    """A folder with a model that nobody has trusted."""
    kind(path, model)
    (settings_folder() / "trusted-models.txt").unlink()
    return path


def given(shape=(5, 6, 7)):
    return torch.rand((1, len(CHANNELS), *shape), generator=torch.Generator().manual_seed(0))


def loaded(path, limits=SMALL):
    return load_external(read_card(path / "model.ts"), digest(path / "model.ts"), limits)


@pytest.mark.parametrize(("kind", "name"), [(folder, "model.ts"), (bundle, "models/model.ts")])
def test_a_program_that_nobody_trusts_is_not_even_loaded(tmp_path, monkeypatch, kind, name):
    model = strange(tmp_path / "model", kind=kind)
    monkeypatch.setattr(external, "ScriptModel", None)
    with pytest.raises(UntrustedModelError) as caught:
        load_network(model)
    assert (caught.value.path, caught.value.sha256) == (model / name, digest(model / name))
    for text in (str(model / name), digest(model / name), "--trust-model"):
        assert text in str(caught.value)
    assert not is_trusted(digest(model / name))


def test_the_word_is_for_one_content_wherever_it_lies(tmp_path):
    model = strange(tmp_path / "model")
    asked = []
    load_network(model, lambda path, hash_: asked.append((path, hash_)) is None)
    assert asked == [(model / "model.ts", digest(model / "model.ts"))]
    load_network(model)
    model.rename(tmp_path / "moved")
    load_network(tmp_path / "moved")
    scripted(tiny("return x"), tmp_path / "moved" / "model.ts")
    with pytest.raises(UntrustedModelError):
        load_network(tmp_path / "moved")


def test_the_word_is_kept_among_the_person_s_own_settings(tmp_path):
    model = strange(tmp_path / "model")
    before = sorted(path.name for path in model.iterdir())
    trust_programs(model)
    trust("a" * 64, "other\nmodel")
    trust("a" * 64, "again")
    file = settings_folder() / "trusted-models.txt"
    lines = file.read_text().splitlines()
    assert lines == [f"{digest(model / 'model.ts')}  {model.resolve() / 'model.ts'}", f"{'a' * 64}  other model"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert sorted(path.name for path in model.iterdir()) == before
    for wrong in ("", "A" * 64, "a" * 63, "../x", None):
        with pytest.raises(InputError, match="is not the SHA-256"):
            trust(wrong, "x")
    file.write_bytes(b"\xff\xfe damaged")
    assert not is_trusted(digest(model / "model.ts"))


def test_the_command_line_asks_for_the_option_once(tmp_path, capfd):
    model = strange(tmp_path / "model")
    write_image(tmp_path / "image.nrrd", noisy(ellipsoid()), blob_volume().geometry)
    words = ["segment", str(tmp_path / "image.nrrd"), "--box", "6", "4", "2", "21", "17", "11", "--no-adapt"]
    words += ["-o", str(tmp_path / "mask.nrrd"), "--model", str(model)]
    capfd.readouterr()
    assert main(words) == 2
    error = capfd.readouterr().err
    assert (error.count("\n"), "--trust-model" in error, digest(model / "model.ts") in error) == (1, True, True)
    assert not (tmp_path / "mask.nrrd").exists()
    assert main([*words, "--trust-model"]) == 0
    assert main(words) == 0


def test_a_version_of_a_casebook_is_never_a_program(tmp_path):
    """Also where it is trusted: what ``learn`` writes are weights."""
    with Casebook.created(tmp_path / "book") as casebook:
        version = casebook.folder / "learning" / "prompted" / "version-1"
        folder(version)
    with pytest.raises(InputError, match="contains a program"):
        PromptedTeacher().load(version)


def test_a_client_of_the_worker_is_told_which_program_and_can_let_it_run(tmp_path):
    model = strange(tmp_path / "model")
    told = []
    with BlockingWorker(warm_worker_command()) as worker:
        worker.client.set_image(blob_volume())
        worker.client.prompts = Prompts({1: BoundingBox((2, 4, 6), (11, 17, 21))})
        job = worker.client.submit(SegmentRequest(str(model), adapt=False), JobCallbacks(error=told.append))
        worker.wait(job)
        assert told[0].program == Program(str(model / "model.ts"), digest(model / "model.ts"))
        assert (told[0].type_name, told[0].is_input, told[0].log) == ("UntrustedModelError", True, "")
        with pytest.raises(InputError, match="is not the SHA-256"):
            worker.run(SegmentRequest(str(model), adapt=False, trust="yes"))
        with pytest.raises(InputError, match="--trust-model"):
            worker.run(SegmentRequest(str(model), adapt=False, trust="0" * 64))
        found = worker.run(SegmentRequest(str(model), adapt=False, trust=told[0].program.sha256))
        assert np.count_nonzero(found.labelmap(blob_volume().geometry.shape_kji)) > 100
        worker.run(SegmentRequest(str(model), adapt=False))


@pytest.mark.slow
@pytest.mark.usefixtures("real_process")
@pytest.mark.parametrize(
    ("body", "limits", "text"),
    [
        (ENDLESS, QUICK, "it took longer than 3 s"),
        (AT_ONCE, SMALL, "it needed more than 0.5 GiB of memory"),
        (BY_AND_BY, SMALL, "it needed more than 0.5 GiB of memory"),
    ],
    ids=["endless", "gigabytes at once", "gigabytes by and by"],
)
def test_a_model_that_goes_beyond_its_limits_is_ended(tmp_path, body, limits, text):
    model = strange(tmp_path / "model", tiny(body))
    trust_programs(model)
    with pytest.raises(InputError) as caught:
        loaded(model, limits)
    assert f"the model {model / 'model.ts'} was stopped for an input of (1, 1, 16, 17, 19): {text}" in str(caught.value)
    assert script_model._Process._idle is None  # it serves no other model


@pytest.mark.slow
@pytest.mark.usefixtures("real_process")
def test_a_model_is_started_again_after_it_was_ended_or_died(tmp_path):
    model = strange(tmp_path / "model", tiny(IN_LARGE))
    trust_programs(model)
    network = loaded(model, QUICK)
    with pytest.raises(InputError, match=r"was stopped for an input of \(1, 1, 5, 6, 7\): it took longer than 3 s"):
        finish(network.feature_steps(given(), (1, 1, 1)))
    right = given((16, 6, 7))
    assert torch.equal(finish(network.feature_steps(right, (1, 1, 1)))[:, 0], right[:, 0])
    os.kill(network.model._process._child.pid, 9)
    with pytest.raises(InputError, match="the system killed its process"):
        finish(network.feature_steps(right, (1, 1, 1)))
    assert torch.equal(finish(network.feature_steps(right, (1, 1, 1)))[:, 0], right[:, 0])


@pytest.mark.usefixtures("real_process")
def test_a_cancel_ends_the_process_at_once(tmp_path):
    model = strange(tmp_path / "model", tiny(IN_LARGE))
    trust_programs(model)
    network = loaded(model, ScriptLimits())
    child = network.model._process._child
    steps = network.feature_steps(given(), (1, 1, 1))
    for _ in range(3):
        next(steps)
    assert resident_bytes(child.pid) > 0
    with Stopwatch() as took:
        steps.close()
    assert child.poll() is not None
    assert took.seconds < 2


def test_a_model_that_was_exchanged_after_it_was_looked_at_is_not_run(tmp_path):
    model = strange(tmp_path / "model")
    trust_programs(model)
    network = loaded(model)
    network.model._end()
    scripted(Threshold(), model / "model.ts").write_bytes((model / "model.ts").read_bytes() + b"\0")
    with pytest.raises(UntrustedModelError):
        finish(network.feature_steps(given(), (1, 1, 1)))
    trust_programs(model)
    with pytest.raises(InputError, match="has changed since it was loaded"):
        finish(network.feature_steps(given(), (1, 1, 1)))


class Stream:
    """What a process writes into the stream of its answers, if it finds a way out of TorchScript."""

    def __init__(self, line):
        self._line = line

    def readline(self, _most):
        return self._line

    def read(self, count):
        return b"x" * min(count, 8)

    def close(self):
        pass


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"", "invalid answer"),
        (b"cpickle\n", "invalid answer"),
        (b"[]\n", "invalid answer"),
        (b'{"kind": 3, "bytes": 0}\n', "invalid answer"),
        (b'{"kind": "answer", "bytes": 840}\n', "invalid answer"),
        (b'{"kind": "answer", "bytes": 1e30}\n', "invalid answer"),
        (b'{"kind": "answer", "bytes": 0, "shape": 3, "type": [1]}\n', r"returns a \[1\] for an input"),
        (b'{"kind": "answer", "bytes": 0, "shape": [1, 1, 5, 6, 7]}\n', "returns None; logits are"),
    ],
)
def test_nothing_that_a_model_s_process_says_is_taken_for_granted(tmp_path, line, text):
    model = strange(tmp_path / "model")
    trust_programs(model)
    network = loaded(model)
    process = network.model._process
    real, process._child.stdout = process._child.stdout, Stream(line)
    with pytest.raises(InputError, match=text):
        finish(network.feature_steps(given(), (1, 1, 1)))
    process.end()
    real.close()
