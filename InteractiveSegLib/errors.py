"""Errors the library raises on purpose; each text names the offending value."""

import errno

MEMORY_IS_FULL = "not enough memory on this computer: use a smaller box, or close other programs"
"""What to do about an error of which ``is_out_of_memory`` is true."""

_SAID = ("ALLOC_FAILED", "allocate memory", "not enough memory", "bad_alloc", "bad allocation")


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


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the memory of the computer or of its GPU is full: PyTorch has several ways to say so.

    For the GPU its own error, or the plain one that comes from cuDNN and cuBLAS; for main memory a plain one. Readers
    of images and packages that do not fit while they are loaded have words of their own.
    """
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"  # torch's, without importing torch
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        or (isinstance(error, (RuntimeError, ImportError)) and any(words in str(error) for words in _SAID))
    )
