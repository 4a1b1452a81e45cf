"""Networks on disk: one safetensors file that names its architecture and how it was trained."""

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from InteractiveSegLib.errors import InputError, OutputError
from InteractiveSegLib.files import replacing
from InteractiveSegLib.networks.network import Network
from InteractiveSegLib.networks.pcnet import PCNet
from InteractiveSegLib.networks.pnet import PNet
from InteractiveSegLib.networks.prompted import PromptedNetwork

ARCHITECTURES: dict[str, type[Network]] = {"pnet": PNet, "pcnet": PCNet, "prompted": PromptedNetwork}
SHIPPED = Path(__file__).parents[1] / "weights"


def save_network(network: Network, path: Path, training: Mapping[str, str | int | float]) -> None:
    """Write weights, architecture and the facts of the training; the file appears whole or not at all.

    Raises
    ------
    InputError : the network is of no known architecture.
    OutputError : the file cannot be written.
    """
    names = [name for name, kind in ARCHITECTURES.items() if type(network) is kind]
    if not names:
        raise InputError(f"{type(network).__name__} is none of the known architectures: {', '.join(ARCHITECTURES)}")
    metadata = {
        "architecture": names[0],
        "config": json.dumps(network.config),
        "training": json.dumps(dict(training)),
    }
    tensors = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    try:
        with replacing(path) as temporary:
            save_file(tensors, temporary, metadata)
    except SafetensorError as error:
        raise OutputError(f"cannot write the weights {path}: {error}") from error


def load_network(name_or_folder: str | Path) -> Network:
    """A network in eval mode, by the name of shipped weights or from a folder that holds one ``.safetensors`` file.

    Raises
    ------
    InputError : no such weights, several in the folder, a truncated file, or weights of another architecture.
    """
    path = weights_path(name_or_folder)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError) as error:
        raise InputError(f"the weights {path} cannot be read: {error}") from error
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


def weights_path(name_or_folder: str | Path) -> Path:
    """File of shipped weights, or the one in a folder. InputError where there is none, or several."""
    shipped = SHIPPED / f"{name_or_folder}.safetensors"
    if shipped.is_file():
        return shipped
    folder = Path(name_or_folder)
    if folder.is_dir():
        found = sorted(folder.glob("*.safetensors"))
        if len(found) == 1:
            return found[0]
        raise InputError(f"the model folder {folder} holds {len(found)} .safetensors files; exactly one is expected")
    names = ", ".join(sorted(path.stem for path in SHIPPED.glob("*.safetensors")))
    raise InputError(f"no model {str(name_or_folder)!r}: neither a shipped one ({names}) nor a folder")
