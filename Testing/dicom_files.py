"""Small synthetic DICOM files, valid or invalid as a test needs them."""

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

CT, MR, PET, ENHANCED = (f"1.2.840.10008.5.1.4.1.1.{kind}" for kind in ("2", "4", "128", "2.1"))
ROWS, COLUMNS = 6, 7


def ramp(count):
    """(count, 6, 7) int16 in which all voxels differ."""
    return np.arange(count * ROWS * COLUMNS, dtype=np.int16).reshape(count, ROWS, COLUMNS)


def base(uid, number, sop, pixels):
    """A dataset without places, with its pixels."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = sop, ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = f"{uid}.{number + 1}"
    ds = Dataset()
    ds.file_meta, ds.SOPClassUID, ds.SOPInstanceUID = meta, sop, meta.MediaStorageSOPInstanceUID
    ds.Modality, ds.SeriesInstanceUID, ds.StudyInstanceUID = "CT", uid, "1.2"
    ds.PatientID, ds.SeriesDescription, ds.InstanceNumber = "P", "axial", number + 1
    ds.Rows, ds.Columns = pixels.shape[-2:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 8 * pixels.itemsize
    ds.HighBit, ds.PixelRepresentation = ds.BitsStored - 1, int(pixels.dtype.kind == "i")
    ds.PixelData = pixels.tobytes()
    ds["PixelData"].VR = "OW" if pixels.itemsize > 1 else "OB"
    return ds


def write_series(folder, volume, *, places=None, uid="1.2.3", sop=CT, change=None, dz=3.0):
    """One file a slice, 0.7 mm between rows and 0.5 mm between columns; ``change(dataset, number)`` before each."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, pixels in enumerate(volume):
        ds = base(uid, number, sop, pixels)
        ds.ImagePositionPatient = list(places[number]) if places is not None else [10, 20, 30 + dz * number]
        ds.ImageOrientationPatient, ds.PixelSpacing, ds.SliceThickness = [1, 0, 0, 0, 1, 0], [0.7, 0.5], dz
        if change is not None:
            change(ds, number)
        ds.save_as(folder / f"{uid}-{number:03d}.dcm", enforce_file_format=True)
    return folder


def write_frames(path, volume, slopes=None, order=None):
    """An enhanced multi-frame file; ``order`` in which its frames lie in the file."""
    order = list(range(len(volume))) if order is None else order
    ds = base("1.2.9", 0, ENHANCED, volume[order])
    ds.NumberOfFrames = len(volume)
    shared, measures, axes = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness, axes.ImageOrientationPatient = [0.7, 0.5], 3, [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = Sequence([measures]), Sequence([axes])
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for number in order:
        frame, place, scale = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = [10, 20, 30 + 3 * number]
        scale.RescaleSlope, scale.RescaleIntercept = (1 if slopes is None else slopes[number]), 0
        frame.PlanePositionSequence, frame.PixelValueTransformationSequence = Sequence([place]), Sequence([scale])
        frames.append(frame)
    ds.PerFrameFunctionalGroupsSequence = Sequence(frames)
    ds.save_as(path, enforce_file_format=True)
    return path


def replace_value(folder, tag, vr, value):
    """Put a text into an element of all files of a folder, as no library would write it."""
    for path in folder.iterdir():
        content = path.read_bytes()
        at = content.index(tag + vr) + 6
        length = int.from_bytes(content[at : at + 2], "little")
        path.write_bytes(content[:at] + len(value).to_bytes(2, "little") + value + content[at + 2 + length :])
