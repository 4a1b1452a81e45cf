"""Errors the library raises on purpose; each text names the offending value."""


class InteractiveSegError(Exception):
    """Base of every error the library raises on purpose."""


class InputError(InteractiveSegError, ValueError):
    """An image, prompt, file or setting cannot be used as it is. Raised before any work is done."""


class OutputError(InteractiveSegError, OSError):
    """A result cannot be written; what was there before is kept."""


class MissingPackageError(InteractiveSegError, ImportError):
    """A feature needs a package that is not installed.

    Parameters
    ----------
    feature : what the user asked for, e.g. "the demo"
    package : name to install, e.g. "nilearn"
    """

    def __init__(self, feature: str, package: str) -> None:
        super().__init__(
            f"{feature} needs the Python package '{package}', which is not installed: pip install {package}"
        )
