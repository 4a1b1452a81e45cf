"""Missing packages of the worker: asked for once, installed by pip itself, or explained."""

import os
import re
import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType, SimpleNamespace

import pytest
import slicer_balls as balls


def make_wheel(folder, name, number="1.0", needs=""):
    """The smallest package there is."""
    folder.mkdir(exist_ok=True)
    info = f"{name}-{number}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{number}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n{needs}")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", f"{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")


@pytest.fixture
def bare(person, tmp_path, monkeypatch):
    """The worker needs two more packages, which pip finds in a folder and installs into another; the person says yes.

    ``person.asked`` holds the questions.
    """
    wheels, site = tmp_path / "wheels", tmp_path / "site"
    make_wheel(wheels, "iseg_first")
    make_wheel(wheels, "iseg_second", "1.5")
    site.mkdir()
    for name, value in (("NO_INDEX", "1"), ("FIND_LINKS", wheels), ("TARGET", site), ("NO_CACHE_DIR", "1")):
        monkeypatch.setenv(f"PIP_{name}", str(value))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.syspath_prepend(str(site))
    person.panel.installer.requirements = tmp_path / "requirements.txt"
    require(person, "iseg_first>=1.0", "iseg_second>=1.2", "numpy>=1.0")
    person.answer, person.asked, person.wheels = True, [], wheels

    def ask(text, **_options):
        person.asked.append(text)
        return person.answer

    import slicer

    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", ask)
    monkeypatch.setattr(slicer.app, "testingEnabled", lambda: False, raising=False)
    return person


def require(person, *lines):
    person.panel.installer.requirements.write_text("# needed\n" + "\n".join(lines) + "\n")
    for section in person.panel.sections:
        section.enter()


def finish(person):
    person.spin(lambda: not person.panel.installer.is_busy)


def test_the_requirements_are_those_of_the_library(person):
    from panel_session import REPOSITORY

    from InteractiveSegUI.processes.packages import required_packages

    declared = re.findall(r'"([\w-]+>=[\d.]+)"', (REPOSITORY / "pyproject.toml").read_text("utf-8"))
    required = [package.requirement for package in required_packages()]
    assert set(required) <= set(declared)
    assert {name.split(">=")[0] for name in required} == {"torch", "monai", "safetensors", "rich", "itk-elastix"}


@pytest.mark.parametrize("slicer_version", ["5.12", "5.10"])
def test_missing_packages_are_asked_for_once_and_installed(bare, monkeypatch, slicer_version):
    import slicer

    if slicer_version == "5.10":
        monkeypatch.delattr(slicer, "packaging")
        monkeypatch.setitem(sys.modules, "slicer.packaging", None)
    assert "Missing: iseg_first, iseg_second" in bare.ui("packagesLabel").text
    assert "numpy" in bare.ui("packagesLabel").text.splitlines()[0]
    bare.press("installButton")
    assert bare.panel.installer.is_busy
    assert not bare.ui("installButton").enabled
    finish(bare)
    assert not bare.status.is_error, bare.status
    assert len(bare.asked) == 1
    assert "iseg_first" in bare.asked[0]
    assert (version("iseg_first"), version("iseg_second")) == ("1.0", "1.5")
    assert "Missing" not in bare.ui("packagesLabel").text
    assert not bare.ui("installButton").isVisibleTo(bare.ui("moreButton"))


def test_nothing_is_installed_without_consent(bare):
    bare.answer = False
    bare.press("installButton")
    assert bare.status.is_error
    assert "iseg_first, iseg_second" in bare.status.text
    with pytest.raises(PackageNotFoundError):
        version("iseg_first")
    assert not bare.panel.installer.is_busy


def test_segment_offers_the_packages_and_continues_when_they_are_there(bare):
    balls.in_scene(bare)
    bare.add_segment()
    balls.box_round(bare, 0)
    bare.press("segmentButton")
    assert len(bare.asked) == 1
    finish(bare)
    bare.wait()
    assert not bare.status.is_error, bare.status
    assert bare.labelmap().any()
    bare.press("segmentButton")
    bare.wait()
    assert len(bare.asked) == 1


def test_segment_does_not_wait_for_what_only_propagation_needs(bare):
    require(bare, "itk-elastix>=99")
    assert "Missing: itk-elastix (300 MB, to propagate slices)" in bare.ui("packagesLabel").text
    balls.in_scene(bare)
    bare.add_segment()
    balls.box_round(bare, 0)
    bare.press("segmentButton")
    bare.wait()
    assert bare.asked == []
    assert bare.labelmap().any()


def test_segment_without_the_packages_names_them(bare):
    balls.in_scene(bare)
    bare.add_segment()
    balls.box_round(bare, 0)
    bare.answer = False
    bare.press("segmentButton")
    assert "missing: iseg_first, iseg_second" in bare.status.text
    assert not bare.controller.is_busy
    assert bare.controller.client.status.stage == "stopped"


def test_a_failed_pip_is_reported_and_what_to_copy_is_shown(bare):
    (bare.wheels / "iseg_second-1.5-py3-none-any.whl").unlink()
    bare.press("installButton")
    finish(bare)
    assert bare.status.is_error
    assert "pip ended with code 1" in bare.status.text
    assert "No matching distribution found for iseg_second>=1.2" in bare.status.text
    page = bare.ui("offlineText")
    assert page.isVisibleTo(bare.widget.parent)
    assert 'pip download --only-binary=:all: --dest interactiveseg-packages "iseg_first>=1.0"' in page.plainText
    assert "PythonSlicer" in page.plainText
    make_wheel(bare.wheels, "iseg_second", "1.5")
    bare.press("installButton")
    finish(bare)
    assert not bare.status.is_error, bare.status
    assert not page.isVisibleTo(bare.widget.parent)


@pytest.mark.parametrize("where", ["before pip", "in a line of pip", "at the end of pip"])
def test_whatever_goes_wrong_in_an_installation_the_panel_can_be_used_again(bare, monkeypatch, where):
    def fail(*_arguments, **_more):
        raise ZeroDivisionError("no such thing was foreseen")

    failing = {"before pip": "kept_versions", "at the end of pip": "missing_packages"}
    if where == "in a line of pip":
        monkeypatch.setattr(bare.controller.client, "try_again", fail)
    elif where == "before pip":
        monkeypatch.setattr(f"InteractiveSegUI.processes.install.{failing[where]}", fail)
    bare.press("installButton")
    if where == "at the end of pip":
        monkeypatch.setattr(f"InteractiveSegUI.processes.install.{failing[where]}", fail)
    finish(bare)
    assert bare.status.is_error
    assert "no such thing was foreseen" in bare.status.text
    monkeypatch.undo()
    assert bare.ui("installButton").enabled


def test_the_offline_commands_work(bare, tmp_path, monkeypatch):
    """The very lines of the page, in a shell of a machine without an index."""
    require(bare, "iseg_first>=1.0", "iseg_second>=1.2")
    bare.ui("offlineButton").click()
    download, install = (line for line in bare.ui("offlineText").plainText.splitlines() if "pip" in line)
    copied = tmp_path / "copied"
    copied.mkdir()
    monkeypatch.delenv("PIP_TARGET")
    subprocess.run(download.replace("python", sys.executable, 1), shell=True, check=True, cwd=copied)
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_TARGET", str(tmp_path / "site"))
    subprocess.run(install, shell=True, check=True, cwd=copied)
    bare.press("lookAgainButton")
    assert "Missing" not in bare.ui("packagesLabel").text


def test_torch_comes_through_the_extension(bare, monkeypatch):
    import slicer

    require(bare, "torch>=99", "iseg_first>=1.0")
    bare.press("installButton")
    assert bare.status.is_error
    assert "Extensions Manager" in bare.status.text
    assert not bare.ui("moreButton").collapsed
    assert '"torch>=99"' in bare.ui("offlineText").plainText
    assert bare.asked == []

    make_wheel(bare.wheels, "torch", "99.1")
    extension, wanted = ModuleType("PyTorchUtils"), []
    extension.__spec__ = SimpleNamespace()

    class PyTorchUtilsLogic:
        def installTorch(self, torchVersionRequirement):  # noqa: N802, N803
            wanted.append(torchVersionRequirement)
            slicer.util.pip_install(["torch" + torchVersionRequirement])
            return ModuleType("torch")

    extension.PyTorchUtilsLogic = PyTorchUtilsLogic
    monkeypatch.setitem(sys.modules, "PyTorchUtils", extension)
    bare.press("installButton")
    finish(bare)
    assert not bare.status.is_error, bare.status
    assert wanted == [">=99"]
    assert "torch (200 MB" in bare.asked[0]
    assert (version("torch"), version("iseg_first")) == ("99.1", "1.0")


def test_pip_may_not_replace_what_slicer_brings(bare):
    """A package that wants another numpy than Slicer has is refused by pip, and numpy stays."""
    make_wheel(bare.wheels, "iseg_first", needs="Requires-Dist: numpy>=99\n")
    make_wheel(bare.wheels, "numpy", "99.0")
    before = version("numpy")
    bare.press("installButton")
    finish(bare)
    assert bare.status.is_error
    assert version("numpy") == before
