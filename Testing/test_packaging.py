"""The extension installs every file of both packages, and the installed files run."""

import json
import re
import shutil
import struct
import subprocess
import sys

import pytest
from package_files import PACKAGES, REPOSITORY, listed

SLICER = """
function(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(MY "WITH_SUBDIR;WITH_GENERIC_TESTS" "NAME" "SCRIPTS;RESOURCES" ${ARGN})
  set(to qt-scripted-modules)
  if(MY_WITH_SUBDIR)
    set(to qt-scripted-modules/${MY_NAME})
  endif()
  foreach(file IN LISTS MY_SCRIPTS MY_RESOURCES)
    get_filename_component(folder ${file} DIRECTORY)
    install(FILES ${file} DESTINATION ${to}/${folder})
  endforeach()
endfunction()
function(slicer_add_python_unittest)
  cmake_parse_arguments(MY "" "SCRIPT" "" ${ARGN})
  get_filename_component(script ${MY_SCRIPT} ABSOLUTE)
  file(APPEND ${CMAKE_BINARY_DIR}/unittests.txt "${script}\n")
endfunction()
set(Slicer_USE_FILE ${CMAKE_CURRENT_LIST_DIR}/nothing.cmake)
set(Slicer_EXTENSION_GENERATE_CONFIG ${CMAKE_CURRENT_LIST_DIR}/nothing.cmake)
set(Slicer_EXTENSION_CPACK ${CMAKE_CURRENT_LIST_DIR}/nothing.cmake)
"""
"""Slicer's package for CMake as far as a scripted extension leans on it: where its macros install files, and which
tests they have CTest run.
"""


def configured(folder, *options):
    """The build folder of the extension, made by CMake."""
    slicer, build = folder / "Slicer", folder / "build"
    slicer.mkdir()
    (slicer / "SlicerConfig.cmake").write_text(SLICER)
    (slicer / "nothing.cmake").touch()
    command = ["cmake", "-S", REPOSITORY, "-B", build, f"-DSlicer_DIR={slicer}", *options]
    subprocess.run(command, check=True, capture_output=True)
    return build


@pytest.mark.parametrize("package", PACKAGES)
def test_the_lists_name_every_file(package):
    kept = (REPOSITORY / package / "files.cmake").read_text("utf-8")
    missing = sorted(set(listed(package).split()) - set(kept.split()))
    gone = sorted(set(kept.split()) - set(listed(package).split()))
    assert kept == listed(package), f"run python Testing/package_files.py (missing: {missing}, gone: {gone})"


def test_the_extension_installs_and_its_packages_can_be_imported(tmp_path):
    if shutil.which("cmake") is None or shutil.which("cc") is None:
        pytest.skip("cmake and a compiler, which it tries, are not installed")
    prefix = tmp_path / "installed"
    build = configured(tmp_path, f"-DCMAKE_INSTALL_PREFIX={prefix}")
    subprocess.run(["cmake", "--install", build], check=True, capture_output=True)
    modules = prefix / "qt-scripted-modules"
    assert sorted(path.name for path in modules.glob("*.py")) == ["InteractiveSeg.py"]
    code = "import InteractiveSegLib; from InteractiveSegLib.cli import main; print(InteractiveSegLib.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(modules), "PATH": ""},
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.stdout.strip() == str(modules / "InteractiveSegLib" / "__init__.py")
    weights = "InteractiveSegLib/weights/prompted.safetensors"
    assert (modules / weights).stat().st_size == (REPOSITORY / weights).stat().st_size


@pytest.mark.parametrize("testing", ["ON", "OFF"])
def test_a_build_with_tests_runs_the_modules_own_test(tmp_path, testing):
    if shutil.which("cmake") is None or shutil.which("cc") is None:
        pytest.skip("cmake and a compiler, which it tries, are not installed")
    kept = configured(tmp_path, f"-DBUILD_TESTING={testing}") / "unittests.txt"
    if testing == "OFF":
        assert not kept.exists()
    else:
        script = REPOSITORY / "InteractiveSeg" / "InteractiveSeg.py"
        assert kept.read_text().split() == [str(script)]
        assert "class InteractiveSegTest(ScriptedLoadableModuleTest)" in script.read_text("utf-8")


def test_the_index_entry_fits_the_extension():
    entry = json.loads((REPOSITORY / "InteractiveSeg.json").read_text("utf-8"))
    cmake = (REPOSITORY / "CMakeLists.txt").read_text("utf-8")
    assert "project(InteractiveSeg)" in cmake
    assert entry["category"] == "Segmentation"
    assert entry["scm_url"].rsplit("/", 1)[-1].startswith("Slicer")
    assert entry["build_dependencies"] == ["PyTorch"]
    assert 'EXTENSION_DEPENDS "PyTorch"' in cmake
    assert "US 11379985 B2" in cmake


def test_the_pictures_of_the_index_and_of_the_documents_are_there():
    cmake = (REPOSITORY / "CMakeLists.txt").read_text("utf-8")
    shown = re.findall(r"EXTENSION_SCREENSHOTURLS (.+)", cmake)[0]
    pictures = {REPOSITORY / name for name in re.findall(r"main/(Resources/\w+\.png)", shown)}
    pages = [REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")]
    for page in pages:
        links = re.findall(r"\]\(([^)#]+)", page.read_text("utf-8"))
        places = {(page.parent / link).resolve() for link in links if "://" not in link}
        assert {str(place) for place in places if not place.exists()} == set(), page.name
        pictures |= {place for place in places if place.suffix == ".png"}
    assert len(pictures) >= 11
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)


def test_the_icon_is_128_pixels_wide():
    data = (REPOSITORY / "Resources" / "InteractiveSeg.png").read_bytes()
    assert struct.unpack(">II", data[16:24]) == (128, 128)


def test_only_the_module_lies_directly_in_the_module_folder():
    assert [path.name for path in (REPOSITORY / "InteractiveSeg").glob("*.py")] == ["InteractiveSeg.py"]
