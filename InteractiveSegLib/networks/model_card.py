"""Input and output of a model from elsewhere, as described by the JSON file beside it."""

import json
import math
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.networks import AUTOMATIC
from InteractiveSegLib.networks.cues import CHANNELS

_MOST_MULTIPLE = 128
_MULTIPLE_OF_N = re.compile(r"(\d+)\s*\*\s*n")  # how MONAI writes that sides are multiples of a number


@dataclass(frozen=True)
class ModelCard:
    """The contract of a TorchScript model.

    model : the TorchScript file
    channels : names from ``cues.CHANNELS``, in the order that the model expects
    outputs : 1, the logit of the foreground, or 2, those of background and foreground
    multiple_of : the number of voxels along each side must be a multiple of this
    slices_last : the model expects (B, C, I, J, K), as MONAI loads images, rather than (B, C, K, J, I)
    name, licence : as the card states them, or empty
    """

    model: Path
    channels: tuple[str, ...]
    outputs: int
    multiple_of: int = 1
    slices_last: bool = False
    name: str = ""
    licence: str = ""


def read_card(model: Path) -> ModelCard:
    """The card ``model.json`` beside a TorchScript file.

    Raises
    ------
    InputError : there is none, it is not a JSON object, or what it states is missing, malformed or not supported.
    """
    path = model.with_suffix(".json")
    content = _json_object(path)
    if content.get("kind") == AUTOMATIC:
        raise InputError(
            f"the model {model} marks images by itself and takes no prompts: it is for 'interactiveseg segment "
            "--model', which corrects what it finds with another network"
        )
    if content.get("spatial_axes") != 3:
        raise InputError(f'the card {path} states "spatial_axes": {content.get("spatial_axes")!r}; it must be 3')
    multiple = content.get("multiple_of", 1)
    stated = ModelCard(model, content.get("channels"), content.get("outputs"), multiple, False, *_names(content))
    return _checked(stated, path)


def read_bundle_card(model: Path) -> ModelCard:
    """The card of ``models/model.ts`` in a MONAI bundle: its ``configs/metadata.json``.

    Raises
    ------
    InputError : as ``read_card``; or the model takes more than an image in [0, 1] and its channels are not named.
    """
    path = model.parents[1] / "configs" / "metadata.json"
    content = _json_object(path)
    given, returned = _first(content, "inputs", path), _first(content, "outputs", path)
    count, channels = given["num_channels"], content.get("interactiveseg_channels")
    if channels is None:
        value_range = given.get("value_range") or [0, 1]
        if count != 1 or value_range != [0, 1]:
            raise InputError(
                f"the card {path} states an input of {count!r} channels in {value_range}; for anything but an image in "
                '[0, 1] it must name the channels in "interactiveseg_channels"'
            )
        channels = ["image"]
    elif isinstance(channels, list) and len(channels) != count:
        named = f"{len(channels)} interactiveseg_channels"
        raise InputError(f"the card {path} names {named}, but num_channels is {count!r}")
    multiple = content.get("interactiveseg_multiple_of", _multiple_of(given.get("spatial_shape")))
    return _checked(ModelCard(model, channels, returned["num_channels"], multiple, True, *_names(content)), path)


def _json_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError as error:
        raise InputError(f"the card {path} is missing: it must name the model's channels and outputs") from error
    except OSError as error:
        raise InputError(f"the card {path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"the card {path} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"the card {path} must be a JSON object, not a {type(content).__name__}")
    return content


def _first(content: dict[str, Any], side: str, path: Path) -> dict[str, Any]:
    """The first of the inputs or outputs of a bundle."""
    try:
        entry = next(iter(content["network_data_format"][side].values()))
        entry["num_channels"]
        entry.get("value_range")
    except (KeyError, TypeError, AttributeError, StopIteration) as error:
        raise InputError(f"the card {path} does not state network_data_format.{side}.<first>.num_channels") from error
    return entry


def _multiple_of(spatial_shape: object) -> int:
    """16 of ["16*n", "16*n", "16*n"]; 1 where nothing of the kind is stated."""
    sides = spatial_shape if isinstance(spatial_shape, list) else []
    found = [_MULTIPLE_OF_N.fullmatch(str(side).strip()) for side in sides]
    return math.lcm(*(int(match[1]) for match in found)) if found and all(found) else 1


def _names(content: dict[str, Any]) -> tuple[str, str]:
    return str(content.get("name", "")), str(content.get("licence", ""))


def _checked(stated: ModelCard, path: Path) -> ModelCard:
    """The card as stated, after checking every part of it."""
    channels, outputs, multiple_of = stated.channels, stated.outputs, stated.multiple_of
    if not isinstance(channels, list) or not channels:
        raise InputError(f"the card {path} states the channels {channels!r}; they must be a list of names")
    unknown = [name for name in channels if name not in CHANNELS]
    if unknown:
        raise InputError(f"the card {path} names the unknown channels {unknown}; known are {', '.join(CHANNELS)}")
    if type(outputs) is not int or outputs not in (1, 2):
        raise InputError(
            f"the card {path} states {outputs!r} outputs; it must be 1 (logit of the foreground) or 2 (logits of "
            "background and foreground)"
        )
    if type(multiple_of) is not int or not 1 <= multiple_of <= _MOST_MULTIPLE:
        raise InputError(
            f"the card {path} states a multiple_of {multiple_of!r}; it must be an integer from 1 to {_MOST_MULTIPLE}"
        )
    return replace(stated, channels=tuple(channels))
