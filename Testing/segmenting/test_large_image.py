"""A whole-body CT on a laptop: memory is bounded by the box and the working grid, not by the image."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

LIMIT_BYTES = 3e9
SCRIPT = """
import json, resource, sys
import numpy as np
import torch
from InteractiveSegLib.image.geometry import Geometry, Volume
from InteractiveSegLib.networks import DEFAULT_NETWORK
from InteractiveSegLib.networks.checkpoint import load_network
from InteractiveSegLib.progress import finish
from InteractiveSegLib.image.box import BoundingBox
from InteractiveSegLib.prompts.scribbles import Scribbles
from InteractiveSegLib.segmenting.session import ImageSession

torch.set_num_threads(1)
shape = (600, 512, 512)
array = np.empty(shape, np.int16)
tile = np.random.default_rng(0).integers(-20, 20, shape[1:], dtype=np.int16)
j, i = np.ogrid[:512, :512]
for k in range(600):
    inside = ((k - 290) / 100) ** 2 + ((j - 240) / 130) ** 2 + ((i - 220) / 155) ** 2 <= 1
    np.add(np.roll(tile, 37 * k), 90 * inside, out=array[k], casting="unsafe")
volume = Volume(array, Geometry(shape, np.diag([0.75, 0.75, 1.0, 1.0])))
session = ImageSession(volume, load_network(DEFAULT_NETWORK))
session.set_box(1, BoundingBox((180, 100, 55), (400, 380, 385)))
along = np.stack([np.full(60, 290), np.full(60, 240), np.arange(190, 250)], axis=1)
session.add_scribbles(Scribbles(along, np.full(60, 1)))
result = finish(session.segment())
labelmap, probability = session.labelmap(), session.probability(1)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(json.dumps({
    "peak": peak, "working": result.objects[1].grid.shape_kji,
    "shape": labelmap.shape, "scribbled": int(labelmap[tuple(along.T)].sum()),
}))
"""


@pytest.mark.slow
def test_a_liver_in_a_ct_of_600_slices_stays_under_3_gb():
    pytest.importorskip("resource", reason="peak memory is read from getrusage")
    repository = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False, cwd=repository, timeout=600
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["peak"] < LIMIT_BYTES
    assert report["shape"] == [600, 512, 512]
    assert report["scribbled"] == 60
    assert report["working"][0] * report["working"][1] * report["working"][2] <= 64**3
