"""DICOM SEG: masks as DICOM objects that refer to the slices they were drawn on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from InteractiveSegLib import __version__
from InteractiveSegLib.casebook.entries import CaseEntry
from InteractiveSegLib.casebook.image_reference import files_of
from InteractiveSegLib.errors import InputError, MissingPackageError
from InteractiveSegLib.system.files import replacing

_SERIES_NUMBER = 900


def write_dicom_seg(
    path: Path,
    labels: NDArray[np.integer],
    entry: CaseEntry,
    names: Mapping[int, str],
    unverified: Collection[int] = (),
) -> None:
    """Write a labelmap (K, J, I) on the grid of a DICOM series as a binary DICOM SEG, one segment per label.

    unverified : labels that nobody reviewed everywhere: their segments say that an algorithm made them

    Raises
    ------
    InputError : the image of the case is not a DICOM series, was moved or has changed, or the mask is empty.
    MissingPackageError : highdicom is not installed.
    OutputError : the file cannot be written.
    """
    if entry.image.series_uid is None and not entry.image.path.is_dir():
        raise InputError(
            f"case {entry.name!r} is not a DICOM series ({entry.image.path}): DICOM SEG needs its DICOM slices"
        )
    try:
        import highdicom
        from highdicom.sr.coding import CodedConcept
        from pydicom import dcmread
    except ImportError as error:
        raise MissingPackageError("exporting DICOM SEG", "highdicom") from error
    entry.image.load(entry.name)
    values = [int(value) for value in np.unique(labels) if value]
    if not values:
        raise InputError(f"the mask of case {entry.name!r} is empty: DICOM SEG cannot store it")
    slices = [dcmread(file) for file in files_of(entry.image.path, entry.image.series_uid)]
    tissue = CodedConcept("85756007", "SCT", "Tissue")
    algorithm = highdicom.AlgorithmIdentificationSequence(
        "InteractiveSeg", CodedConcept("123110", "DCM", "Artificial Intelligence"), __version__
    )
    described = [
        highdicom.seg.SegmentDescription(
            number,
            names.get(value, f"label {value}"),
            tissue,
            tissue,
            "AUTOMATIC" if value in unverified else "SEMIAUTOMATIC",
            algorithm,
        )
        for number, value in enumerate(values, 1)
    ]
    numbered = np.zeros(labels.shape, np.uint8)
    for number, value in enumerate(values, 1):
        numbered[labels == value] = number
    made: Any = highdicom.seg.Segmentation(
        source_images=slices,
        pixel_array=numbered,  # the files are ordered like the image's slices; rows and columns as in the files
        segmentation_type="BINARY",
        segment_descriptions=described,
        series_instance_uid=highdicom.UID(),
        series_number=_SERIES_NUMBER,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="InteractiveSeg",
        manufacturer_model_name="InteractiveSeg",
        software_versions=__version__,
        device_serial_number="none",
        series_description=f"{entry.name}: {'masks, not all verified' if unverified else 'accepted masks'}"[:64],
    )
    with replacing(path) as temporary:
        made.save_as(temporary)
