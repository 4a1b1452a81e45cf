"""Networks on disk: one safetensors file that names its architecture and how it was trained, or TorchScript."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from InteractiveSegLib.errors import InputError
from InteractiveSegLib.networks.architectures import ARCHITECTURES
from InteractiveSegLib.networks.ensemble import Ensemble
from InteractiveSegLib.networks.external import load_external
from InteractiveSegLib.networks.model_card import read_bundle_card, read_card
from InteractiveSegLib.networks.model_trust import Ask, read_trusted, refuse, trusting
from InteractiveSegLib.networks.network import Member, Network
from InteractiveSegLib.system.files import replacing

ENSEMBLE, _MEMBERS = "ensemble", ("prompted", "pnet")
SHIPPED = Path(__file__).parents[1] / "weights"


@contextmanager
def replacing_by_torch(path: Path) -> Iterator[Path]:
    """As ``replacing``, for files that torch writes: it reports a full disk as a RuntimeError."""
    with replacing(path) as temporary:
        try:
            yield temporary
        except RuntimeError as error:
            raise OSError(str(error).splitlines()[0]) from error


def save_network(network: Member, path: Path, training: Mapping[str, str | int | float]) -> None:
    """Write weights, architecture and the facts of the training; the file is written completely or not at all.

    Raises
    ------
    InputError : the network is of no known architecture, or a model from elsewhere.
    OutputError : the file cannot be written.
    """
    names = [name for name, kind in ARCHITECTURES.items() if type(network) is kind]
    if not names:
        known = ", ".join(ARCHITECTURES)
        raise InputError(
            f"{type(network).__name__} is not one of the known architectures: {known}. To keep a model from "
            "elsewhere, copy its folder"
        )
    write_weights(network, path, names[0], network.config, training)


def write_weights(
    network: nn.Module,
    path: Path,
    architecture: str,
    config: Mapping[str, Any],
    training: Mapping[str, str | int | float],
) -> None:
    """Write a safetensors file that names what the weights belong to. OutputError if it cannot be written."""
    metadata = {"architecture": architecture, "config": json.dumps(config), "training": json.dumps(dict(training))}
    tensors = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    with replacing(path) as temporary:
        try:
            save_file(tensors, temporary, metadata)
        except SafetensorError as error:
            raise OSError(str(error)) from error


def load_network(name_or_folder: str | Path, ask: Ask = refuse) -> Network:
    """A network in eval mode, by the name of shipped weights, as ``ensemble`` of two of those, or from a folder.

    The folder holds one ``.safetensors`` file of our architectures; or a TorchScript model, ``model.ts``, with its card
    ``model.json``; or it is a MONAI bundle with ``models/model.ts`` and ``configs/metadata.json``. TorchScript is a
    program: it runs only if the user has allowed it, and in a process of its own.

    Parameters
    ----------
    ask : called to ask whether a program that was not trusted before may run; ``trusting`` says yes

    >>> [type(member).__name__ for member in load_network("ensemble").members]
    ['PromptedNetwork', 'PNet']

    Raises
    ------
    InputError : no such model, several in the folder, a truncated file, weights of another architecture, or a model
        that violates its card.
    UntrustedModelError : nobody has allowed the model to run.
    """
    if name_or_folder == ENSEMBLE:
        return Ensemble(*map(load_network, _MEMBERS)).eval()
    path = weights_path(name_or_folder)
    if path.suffix == ".ts":
        card = read_card(path) if path.parent == Path(name_or_folder) else read_bundle_card(path)
        return load_external(card, read_trusted(path, ask)[1])
    metadata, tensors = read_weights(path)
    architecture = metadata.get("architecture")
    if architecture not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise InputError(f"the weights {path} are of the architecture {architecture!r}; known are {known}")
    try:
        network = ARCHITECTURES[architecture](**json.loads(metadata["config"]))
        network.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise InputError(f"the weights {path} do not fit the architecture {architecture!r}: {reason}") from error
    return network.eval()


def trust_programs(name_or_folder: str | Path) -> None:
    """Remember that the user allowed the model in a folder to run, if it is a program. InputError as for
    ``weights_path``.
    """
    for path in weights_paths(name_or_folder):
        if path.suffix == ".ts":
            read_trusted(path, trusting)


def read_weights(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Header and tensors of a file that ``write_weights`` made. InputError if it cannot be read."""
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}, {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError) as error:
        raise InputError(f"the weights {path} cannot be read: {error}") from error


def weights_paths(name_or_folder: str | Path) -> list[Path]:
    """All files that ``load_network`` reads weights from. InputError as for ``weights_path``."""
    return [weights_path(name) for name in (_MEMBERS if name_or_folder == ENSEMBLE else (name_or_folder,))]


def weights_path(name_or_folder: str | Path) -> Path:
    """File of shipped weights, or the one model in a folder. InputError if there is none, or several."""
    shipped = SHIPPED / f"{name_or_folder}.safetensors"
    if shipped.is_file():
        return shipped
    folder = Path(name_or_folder)
    if folder.is_dir():
        weights = sorted(folder.glob("*.safetensors"))
        scripts = [path for path in (folder / "model.ts", folder / "models" / "model.ts") if path.is_file()]
        if len(weights) + len(scripts) == 1:
            return (weights + scripts)[0]
        counts = [f"{len(weights)} .safetensors files", *(path.relative_to(folder).as_posix() for path in scripts)]
        raise InputError(
            f"the model folder {folder} holds {' and '.join(counts)}; exactly one is expected: a .safetensors file, "
            "model.ts, or models/model.ts of a MONAI bundle"
        )
    names = ", ".join([ENSEMBLE, *sorted(path.stem for path in SHIPPED.glob("*.safetensors"))])
    raise InputError(f"no model {str(name_or_folder)!r}: neither a shipped one ({names}) nor a folder")
