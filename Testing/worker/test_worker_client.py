"""How a client handles a worker process that is slow, lost, silent, of another version, or works normally."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from blobs import blob_volume, ellipsoid
from odd_worker import OddRequest, OddRequestOnImage
from stopwatch import Stopwatch
from warm_worker import warm_command

from InteractiveSegLib import __version__
from InteractiveSegLib.errors import InputError
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.image.geometry import Geometry, Volume
from InteractiveSegLib.networks.checkpoint import load_network
from InteractiveSegLib.progress import finish
from InteractiveSegLib.prompts.scribbles import Scribbles
from InteractiveSegLib.records.message import Decoder, Message, encode
from InteractiveSegLib.segmenting.session import ImageSession
from InteractiveSegLib.worker.blocking import BlockingWorker
from InteractiveSegLib.worker.client import ClientLimits
from InteractiveSegLib.worker.handshake import PROTOCOL, hello
from InteractiveSegLib.worker.job import JobCallbacks, JobError
from InteractiveSegLib.worker.requests.segment_request import SegmentRequest
from InteractiveSegLib.worker.subprocess_transport import SubprocessTransport

HERE = Path(__file__).resolve().parents[1]
BOX = BoundingBox((2, 4, 6), (11, 17, 21))
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)])}


def odd(*words):
    return warm_command("odd_worker", *words)


def odd_from_the_start(*words):
    """For tests of the start itself, and of signals."""
    return [sys.executable, str(HERE / "odd_worker.py"), *words]


def odd_worker(*words, **options):
    return BlockingWorker(odd(*words), ENVIRONMENT, **options)


@pytest.fixture
def statuses():
    return []


@pytest.fixture
def worker(statuses):
    """With a process that skips the warm-up."""
    with odd_worker("quick", on_status=statuses.append) as worker:
        yield worker


class Outcome:
    """Keeps what the callbacks of a job are told."""

    def __init__(self):
        self.told = []
        self.progress = []
        self.callbacks = JobCallbacks(
            self.progress.append,
            lambda result: self.told.append(("result", result)),
            lambda error: self.told.append(("error", error)),
            lambda why: self.told.append(("stopped", why)),
        )


def failure(worker, request=OddRequest()):  # noqa: B008
    with pytest.raises(JobError) as caught:
        worker.run(request)
    return caught.value


def started(worker, request):
    """A job that has made progress."""
    outcome = Outcome()
    job = worker.client.submit(request, outcome.callbacks)
    assert worker.loop.run_until(lambda: outcome.progress, 30)
    time.sleep(0.2)  # after its first report the worker goes on
    return job, outcome


def assert_ready(worker):
    assert worker.run(OddRequest(number=5)) == {"number": 5, "labels": []}


# a process that works


def test_requests_are_answered_in_their_order(worker):
    outcomes = [Outcome() for _ in range(5)]
    jobs = [worker.client.submit(OddRequest(number=n), each.callbacks) for n, each in enumerate(outcomes)]
    assert all(not each.told for each in outcomes)
    assert worker.wait(jobs[-1], 30)
    assert [each.told for each in outcomes] == [[("result", {"number": n, "labels": []})] for n in range(5)]
    assert [job.state for job in jobs] == ["done"] * 5


def test_the_stages_of_a_process_are_reported(worker, statuses):
    assert_ready(worker)
    assert [status.stage for status in statuses] == ["starting", "warming up", "ready", "busy", "ready"]
    worker.client.close()
    assert worker.client.status.stage == "stopped"


def test_progress_is_told_but_not_more_often_than_it_is_read(worker):
    outcome = Outcome()
    worker.wait(worker.client.submit(OddRequest("step", 1.0), outcome.callbacks))
    assert 3 <= len(outcome.progress) <= 15


def test_an_unexpected_error_is_told_with_type_text_and_place_and_the_worker_lives_on(worker):
    error = failure(worker, OddRequest("stumble"))
    assert (error.type_name, error.text, error.is_input) == ("ZeroDivisionError", "division by zero", False)
    assert "in stumble" in error.log
    assert_ready(worker)


def test_a_result_that_cannot_travel_is_an_error_and_the_worker_lives_on(worker):
    error = failure(worker, OddRequest("untold"))
    assert (error.type_name, "JSON cannot hold" in error.text) == ("ProtocolError", True)
    assert_ready(worker)


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_a_full_memory_is_told_with_what_to_do_and_the_worker_lives_on(worker, kind):
    error = failure(worker, OddRequest("memory", kind))
    assert error.type_name == "MemoryError"
    assert "use a smaller box" in error.text
    assert_ready(worker)


def test_prints_of_libraries_do_not_disturb_the_protocol_and_are_kept_in_the_log(worker):
    assert worker.run(OddRequest("print", 1))["number"] == 1
    assert_ready(worker)
    worker.loop.run_until(lambda: "EOFError" in "".join(worker.log), 10)  # it comes on a stream of its own
    log = "".join(worker.log)
    for text in ("ISEG printed", "written", *(["from C"] if sys.platform != "win32" else []), "EOFError"):
        assert text in log


def test_bad_settings_are_refused_before_they_are_sent():
    for settings, text in (
        ({"device": "tpu"}, "auto, cpu or cuda, not 'tpu'"),
        ({"seed": -1}, "seed is an integer from 0"),
        ({"seed": 1.5}, "seed is an integer"),
        ({"rounds": 51}, "rounds is an integer from 0 to 50, not 51"),
        ({"smoothness": -0.1}, "between 0 and 1000 voxels, not at -0.1"),
        ({"smoothness": float("nan")}, "is a number, not nan"),
        ({"sigma": 0}, "sigma lies above 0"),
        ({"sigma": "wide"}, "sigma is a number"),
    ):
        with pytest.raises(InputError, match=text):
            SegmentRequest(**settings)


def test_prompts_outside_the_image_and_requests_without_an_image_are_refused(worker):
    with pytest.raises(InputError, match="there is no image"):
        worker.run(SegmentRequest())
    worker.client.set_image(blob_volume())
    worker.client.prompts = worker.client.prompts.with_scribbles(Scribbles(np.array([[99, 0, 0]]), np.array([1])))
    with pytest.raises(InputError, match="outside the image"):
        worker.run(SegmentRequest())
    worker.client.set_image(blob_volume())
    with pytest.raises(InputError, match="nothing to segment"):
        worker.run(SegmentRequest())
    with pytest.raises(InputError, match="no model 'none'"):
        worker.run(SegmentRequest(model="none"))


# cancelling, and what is stale


def test_a_cancel_is_obeyed_within_a_second_and_the_process_stays():
    with odd_worker("quick", limits=ClientLimits(cancel_s=20.0)) as worker:
        job, outcome = started(worker, OddRequest("step", 60))
        pid = worker.transport.process.pid
        with Stopwatch() as took:
            job.cancel()
            assert worker.wait(job, 15)
        assert took.seconds < 1
        assert outcome.told == [("stopped", "cancelled")]
        assert_ready(worker)
        assert worker.transport.process.pid == pid


def test_work_that_something_else_takes_the_place_of_is_left_off_by_the_same_process(worker):
    job, outcome = started(worker, OddRequest("step", 60))
    pid = worker.transport.process.pid
    job.supersede()
    job.cancel()  # a person may still press Cancel
    assert worker.wait(job, 5)
    assert outcome.told == [("stopped", "cancelled")]
    job, outcome = started(worker, OddRequest("step", 60))
    job.supersede()
    assert worker.wait(job, 5)
    assert outcome.told == [("stopped", "stale")]
    assert_ready(worker)
    assert worker.transport.process.pid == pid


def test_a_long_native_call_ends_within_a_second_with_the_process_and_the_next_request_works(worker):
    job, outcome = started(worker, OddRequest("block", 60))
    process = worker.transport.process
    with Stopwatch() as took:
        job.cancel()
        assert worker.wait(job, 15)
    assert took.seconds < 1
    assert outcome.told == [("stopped", "cancelled")]
    assert process.wait(5) is not None
    assert_ready(worker)
    assert worker.transport.process.pid != process.pid


def test_a_job_that_waits_is_cancelled_without_a_word_to_the_worker(worker):
    first, of_first = started(worker, OddRequest("step", 0.5))
    of_second, of_third = Outcome(), Outcome()
    second = worker.client.submit(OddRequest("step", 60), of_second.callbacks)
    third = worker.client.submit(OddRequest(number=3), of_third.callbacks)
    second.cancel()
    second.cancel()
    assert worker.wait(third, 10)
    assert of_first.told == [("result", {"number": 0.5, "labels": []})]
    assert (of_second.told, of_third.told[0][0]) == ([("stopped", "cancelled")], "result")
    for job in (first, second, third):
        job.cancel()  # after its end nothing happens
    assert_ready(worker)


def test_a_job_is_cancelled_while_the_process_starts(worker):
    outcome = Outcome()
    job = worker.client.submit(OddRequest("step", 60), outcome.callbacks)
    worker.loop.run_until(lambda: worker.client.status.stage == "starting", 10)
    job.cancel()
    assert worker.wait(job, 1)
    assert worker.loop.run_until(lambda: outcome.told, 1)
    assert outcome.told == [("stopped", "cancelled")]
    assert_ready(worker)


def test_when_the_prompts_change_the_result_is_stale_and_dropped(worker):
    worker.client.set_image(blob_volume())
    worker.client.prompts = worker.client.prompts.with_box(1, BOX)
    job, outcome = started(worker, OddRequestOnImage("step", 60))
    waiting = Outcome()
    worker.client.submit(OddRequestOnImage(number=2), waiting.callbacks)
    worker.client.prompts = worker.client.prompts.with_box(2, BOX)
    assert worker.wait(job, 5)
    assert worker.loop.run_until(lambda: waiting.told, 5)
    assert outcome.told == waiting.told == [("stopped", "stale")]
    assert worker.run(OddRequestOnImage(number=3)) == {"number": 3, "labels": [1, 2]}


def test_a_result_that_was_on_its_way_when_the_prompts_changed_is_dropped_too(worker):
    worker.client.set_image(blob_volume())
    assert_ready(worker)
    outcome = Outcome()
    job = worker.client.submit(OddRequestOnImage(), outcome.callbacks)
    worker.loop.run_until(lambda: job.state == "running", 5)
    time.sleep(0.5)  # the answer is in the pipe
    worker.client.prompts = worker.client.prompts.with_box(1, BOX)
    assert worker.wait(job, 5)
    assert outcome.told == [("stopped", "stale")]


def test_another_image_makes_stale_what_was_under_way_but_not_what_is_about_no_image(worker):
    worker.client.set_image(blob_volume())
    job, outcome = started(worker, OddRequestOnImage("step", 60))
    other = Outcome()
    worker.client.submit(OddRequest(number=2), other.callbacks)
    worker.client.set_image(blob_volume())
    assert worker.client.prompts.is_empty
    assert worker.loop.run_until(lambda: other.told, 5)
    assert (outcome.told, job.state) == ([("stopped", "stale")], "stale")
    assert other.told == [("result", {"number": 2, "labels": []})]


def test_stale_work_that_cannot_be_interrupted_holds_the_next_request_up_for_a_bounded_time():
    with odd_worker("quick", limits=ClientLimits(stale_s=0.3)) as worker:
        worker.client.set_image(blob_volume())
        started(worker, OddRequestOnImage("block", 60))
        worker.client.prompts = worker.client.prompts.with_box(1, BOX)
        begun = time.monotonic()
        assert worker.run(OddRequestOnImage())["labels"] == [1]
        assert time.monotonic() - begun < 10


def test_closing_ends_the_process_and_its_jobs_and_the_client_can_be_used_again(worker):
    job, outcome = started(worker, OddRequest("block", 60))
    process = worker.transport.process
    worker.client.close()
    assert (outcome.told, job.state) == ([("stopped", "cancelled")], "cancelled")
    assert process.wait(5) is not None
    assert_ready(worker)


# a large image


def test_no_call_of_the_client_takes_long_on_a_large_image_and_only_the_box_travels(worker, monkeypatch):
    """512 x 512 x 300 voxels and a box as of a liver; what counts is the time of the loop's thread on the processor."""
    shape, box = (300, 512, 512), BoundingBox((75, 135, 135), (225, 365, 365))
    volume = Volume(np.zeros(shape, np.int16), Geometry(shape, np.eye(4)))
    voxels = np.random.default_rng(0).integers(-1000, 3000, box.shape_kji, np.int16)
    volume.array_kji[box.slices] = voxels
    checked = int((voxels.astype(np.int64).reshape(-1) * (np.arange(voxels.size) % 1009)).sum())
    marks = Scribbles(np.random.default_rng(1).integers(box.start_kji, box.stop_kji, (50_000, 3)), np.ones(50_000, int))
    prompts = worker.client.prompts.with_box(1, box).with_scribbles(marks)
    sizes, took = [], []
    write = SubprocessTransport.write
    monkeypatch.setattr(SubprocessTransport, "write", lambda self, data: sizes.append(len(data)) or write(self, data))

    def timed(function):
        begun = time.thread_time()
        function()
        took.append(time.thread_time() - begun)

    post, call_later = worker.loop.post, worker.client._call_later
    monkeypatch.setattr(worker.loop, "post", lambda function: post(lambda: timed(function)))
    monkeypatch.setattr(
        worker.client, "_call_later", lambda seconds, function: call_later(seconds, lambda: timed(function))
    )
    outcome = Outcome()
    timed(lambda: worker.client.set_image(volume))
    timed(lambda: setattr(worker.client, "prompts", prompts))
    timed(lambda: worker.client.submit(OddRequestOnImage("fetch", checked), outcome.callbacks))
    assert worker.loop.run_until(lambda: outcome.told, 60)
    assert outcome.told[0][0] == "result"
    assert voxels.nbytes < sum(sizes) < 1.05 * voxels.nbytes
    assert max(sizes) < 5e6
    assert max(took) < 0.1


# a process that is lost


def test_a_process_that_dies_is_told_with_its_last_words_and_the_next_request_starts_another(worker, statuses):
    error = failure(worker, OddRequest("die", 3))
    assert error.type_name == "WorkerLost"
    assert error.text == "the worker process ended with the exit code 3; its last output was: a last word"
    assert "a last word" in error.log
    assert "failed" in [status.stage for status in statuses]
    assert_ready(worker)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_process_that_the_system_kills_is_told_as_such(worker):
    job, outcome = started(worker, OddRequest("step", 60))
    os.kill(worker.transport.process.pid, signal.SIGKILL)
    assert worker.wait(job, 5)
    assert "usually because memory ran out" in outcome.told[0][1].text
    assert_ready(worker)


def test_a_process_that_dies_while_idle_is_started_again_by_the_next_request(worker):
    assert_ready(worker)
    worker.transport.process.kill()
    worker.transport.process.wait()  # so that it cannot begin the request
    assert_ready(worker)
    worker.transport.process.kill()
    worker.loop.run_until(lambda: worker.client.status.stage == "failed", 5)
    assert_ready(worker)


def test_a_crash_loop_ends_with_a_clear_message_until_it_is_tried_again(worker):
    pids = set()
    for _ in range(3):
        assert "exit code 4" in failure(worker, OddRequest("die", 4)).text
        pids.add(worker.transport.process.pid)
    assert len(pids) == 3
    error = failure(worker)
    assert (
        "failed 3 times in a row and is not started again: the worker process ended with the exit code 4" in error.text
    )
    assert worker.transport.process.pid in pids
    worker.client.try_again()
    assert_ready(worker)


def test_an_answer_between_crashes_ends_the_count(worker):
    for _ in range(2):
        for _ in range(2):
            failure(worker, OddRequest("die", 4))
        assert_ready(worker)


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (["/no/such/program"], "the worker process /no/such/program cannot be started: No such file"),
        ([str(HERE)], "cannot be started: Permission denied"),
        (odd_from_the_start("exit"), "exit code 1; its last output was: no such module"),
        (odd_from_the_start("noise"), "invalid data: the stream does not begin with a message but with b'noise"),
        (odd_from_the_start("lacks"), "lacks a Python package"),
        ([sys.executable, "-c", "print('hello')"], "ended with the exit code 0"),
    ],
)
def test_a_process_that_cannot_be_worked_with_is_told_in_words(command, text):
    with BlockingWorker(command, ENVIRONMENT) as worker:
        error = failure(worker)
        assert (error.type_name, worker.client.status.stage) == ("WorkerLost", "failed")
        assert text in error.text


def test_a_process_of_another_version_is_told_by_both_sides():
    with odd_worker("quick", "other") as worker:
        error = failure(worker)
        assert error.text.startswith(
            f"the worker is InteractiveSeg 9.9 (protocol {PROTOCOL}), this side is InteractiveSeg"
        )
        assert "install the same version on both sides" in error.text
    done = subprocess.run(
        odd("quick", "other"), input=encode(hello()), capture_output=True, env=ENVIRONMENT, timeout=60, check=False
    )
    assert done.returncode == 1
    ours = f"the client is InteractiveSeg {__version__} (protocol {PROTOCOL}), this side is InteractiveSeg 9.9".encode()
    assert ours in done.stderr
    assert ours in done.stdout


def test_what_a_login_prints_does_not_matter():
    with odd_worker("quick", "banner") as worker:
        assert_ready(worker)
        assert "Welcome to this host\n" in worker.log


def test_a_process_that_says_nothing_is_given_up():
    with odd_worker("mute", limits=ClientLimits(greeting_s=0.5)) as worker:
        assert failure(worker).text == "the worker process did not answer within 0.5 s"
        assert worker.transport.process.wait(5) is not None


def test_a_process_that_gives_no_sign_of_life_is_given_up():
    with odd_worker("quick", "silent", limits=ClientLimits(silence_s=0.6)) as worker:
        error = failure(worker, OddRequest("block", 60))
        assert error.text == "the worker process gave no sign of life for 0.6 s"


def test_a_process_that_works_for_long_gives_signs_of_life():
    with odd_worker("quick", limits=ClientLimits(silence_s=3.0)) as worker:
        assert worker.run(OddRequest("block", 5.0))["number"] == 5


# the process alone


def run_alone(data, words=("quick",)):
    return subprocess.run(odd(*words), input=data, capture_output=True, env=ENVIRONMENT, timeout=60, check=False)


def kinds(output):
    return [message.kind for message in Decoder().feed(output)]


def test_the_end_of_its_input_ends_a_process_also_in_the_middle_of_a_request():
    for request in (OddRequest("step", 60), OddRequest("block", 60)):
        asked = Message("request", {"id": 1, "kind": "odd", "own": dict(request.to_message().fields)})
        begun = time.monotonic()
        run_alone(encode(hello()) + encode(asked))
        assert time.monotonic() - begun < 10


def test_a_process_says_what_it_does_not_understand():
    done = run_alone(encode(hello()) + b"garbage" * 10)
    assert kinds(done.stdout)[-1] == "fatal"
    assert b"the client's messages cannot be understood" in done.stderr
    done = run_alone(encode(hello()) + encode(Message("dance")))
    assert b"a message of the kind 'dance'" in done.stderr
    asked = Message("request", {"id": 1, "kind": "dance", "own": {}})
    done = run_alone(encode(hello()) + encode(asked) + encode(Message("request", {"id": 2})))
    answers = [message for message in Decoder().feed(done.stdout) if message.kind == "error"]
    assert "does not know the request 'dance', only segment" in answers[0].fields["text"]
    assert [answer.fields["id"] for answer in answers] == [1, 2]


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_an_interrupt_in_the_terminal_is_left_to_the_client():
    with BlockingWorker(odd_from_the_start("quick"), ENVIRONMENT) as worker:
        job, outcome = started(worker, OddRequest("step", 1))
        os.kill(worker.transport.process.pid, signal.SIGINT)
        assert worker.wait(job, 10)
        assert outcome.told[0][0] == "result"


def test_the_command_refuses_to_be_a_worker_for_a_terminal(monkeypatch, capsys):
    from InteractiveSegLib.cli import main

    monkeypatch.setattr("sys.stdin", type("Terminal", (), {"isatty": lambda _: True})())
    assert main(["worker"]) == 2
    assert "there is nothing to type" in capsys.readouterr().err


# whole sessions


def test_two_clients_side_by_side_do_not_disturb_each_other():
    with odd_worker("quick") as one, odd_worker("quick") as other:
        for number, worker in enumerate((one, other)):
            worker.client.set_image(blob_volume())
            worker.client.prompts = worker.client.prompts.with_box(number + 1, BOX)
        job, outcome = started(one, OddRequestOnImage("step", 60))
        assert other.run(OddRequestOnImage(number=7)) == {"number": 7, "labels": [2]}
        job.cancel()
        assert one.wait(job, 5)
        assert outcome.told == [("stopped", "cancelled")]
        assert one.run(OddRequestOnImage(number=8)) == {"number": 8, "labels": [1]}


@pytest.mark.slow
def test_killing_the_process_at_ten_random_moments_loses_nothing():
    """Each time the prompts have grown; the action after the kill gives the mask of a session that nobody disturbed."""
    rng, volume, request = np.random.default_rng(11), blob_volume(), SegmentRequest(adapt=False)
    shape, masks = volume.geometry.shape_kji, []
    stages = rng.permutation(["starting"] * 4 + ["warming up"] * 3 + ["busy"] * 2 + ["ready"])
    with BlockingWorker() as worker:
        worker.client.set_image(volume)
        worker.client.prompts = worker.client.prompts.with_box(1, BOX)
        for stage in stages:
            voxels = rng.integers(0, shape, (3, 3))
            marks = Scribbles(voxels, np.where(ellipsoid()[tuple(voxels.T)], 1, 255))
            worker.client.prompts = prompts = worker.client.prompts.with_scribbles(marks)
            outcome = Outcome()
            job = worker.client.submit(request, outcome.callbacks)
            assert worker.loop.run_until(lambda: worker.client.status.stage == stage, 60)  # noqa: B023
            worker.wait(job, 60 if stage == "ready" else rng.uniform(0, 0.3 if stage != "busy" else 0.05))
            worker.transport.process.kill()
            assert worker.wait(job, 60)
            ((kind, told),) = outcome.told
            if kind == "result":  # it was on its way, or the request was sent to the next process
                assert stage in ("busy", "ready")
                masks.append((prompts, told))
            worker.client.try_again()  # as a person does after three kills in a row
            assert worker.client.prompts is prompts
        masks.append((prompts, worker.run(request)))
    session = ImageSession(volume, load_network(request.model))
    for drawn, found in masks:
        session.prompts = drawn
        finish(session.segment(adapt=False))
        np.testing.assert_array_equal(found.labelmap(shape), session.labelmap())
        assert session.labelmap().any()
