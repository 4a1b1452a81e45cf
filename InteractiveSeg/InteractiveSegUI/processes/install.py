"""Installs the packages that the worker needs, if the user agrees."""

from __future__ import annotations

import importlib.util
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from InteractiveSegUI.controller import Controller
from InteractiveSegUI.processes.jobs import call_later
from InteractiveSegUI.processes.packages import REQUIREMENTS, Package, kept_versions, missing_packages

_PAINT_S = 0.1  # lets the window show the status line before an installer blocks it


class Installer:
    """Asks once, then installs torch by the PyTorch extension and the other packages by pip.

    Parameters
    ----------
    controller : its actions that compute then wait for the packages (``Controller.gate``)

    Attributes
    ----------
    is_busy : packages are being installed
    failures : number of failed installations
    """

    def __init__(self, controller: Controller, requirements: Path = REQUIREMENTS) -> None:
        self.controller = controller
        self.requirements = requirements
        self.is_busy = False
        self.failures = 0
        self._go_on: Callable[[], None] = lambda: None
        self._lines: list[str] = []
        controller.gate = self.ensure

    def missing(self) -> list[Package]:
        return missing_packages(self.requirements)

    def can_compute(self) -> bool:
        """Whether the packages that every computation needs are installed."""
        return not any(package.is_essential for package in self.missing())

    def ensure(self, go_on: Callable[[], None], essential: bool = False) -> None:
        """Call an action that computes; if packages are missing, offer to install them first.

        essential : ask only for packages that every computation needs
        """
        if any(package.is_essential or not essential for package in self.missing()):
            self.install(go_on)
        else:
            go_on()

    def install(self, go_on: Callable[[], None] = lambda: None) -> None:
        """Install missing packages if the user agrees, then continue."""
        missing = self.missing()
        if self.is_busy or not missing:
            self.controller.say(_("Packages are being installed.") if self.is_busy else _("Nothing is missing."))
            return
        with_torch = any(package.name == "torch" for package in missing)
        if with_torch and importlib.util.find_spec("PyTorchUtils") is None:
            self._fail(
                _(
                    "PyTorch is missing. The PyTorch extension installs it, but this Slicer does not have it: "
                    "choose View > Extensions Manager, install PyTorch, restart Slicer, and press Install again."
                )
            )
            return
        if not slicer.util.confirmOkCancelDisplay(_question(missing), windowTitle="InteractiveSeg"):
            names = ", ".join(package.name for package in missing)
            self.controller.say(_("Nothing was installed; missing: {names}.").format(names=names), is_error=True)
            return
        self._go_on, self.is_busy, self._lines = go_on, True, []
        self.controller.say(_("Installing PyTorch ...") if with_torch else _("Installing packages ..."))
        call_later(_PAINT_S, self._guarded(self._install_torch if with_torch else self._install_others))

    def _guarded(self, step: Callable[..., None]) -> Callable[..., None]:
        """A step of the installation that leaves the panel usable whatever happens in it."""

        def run(*arguments: Any) -> None:
            if not self.is_busy:
                return  # it has failed before
            try:
                step(*arguments)
            except Exception as error:
                logging.exception("InteractiveSeg")
                reason = str(error) or type(error).__name__
                last = self._lines[-1] if self._lines else ""
                text = _("The packages were not installed: {reason}. {last}")
                self._fail(text.format(reason=reason.rstrip("."), last=last).strip())

        return run

    def _install_torch(self) -> None:
        """The extension chooses the build for this computer and blocks until it is installed."""
        least = next(package.least for package in self.missing() if package.name == "torch")
        import PyTorchUtils

        torch = PyTorchUtils.PyTorchUtilsLogic().installTorch(torchVersionRequirement=f">={least}")
        if torch is None:
            self._fail(_("PyTorch was not installed."))
            return
        self.controller.say(_("Installing packages ..."))
        call_later(_PAINT_S, self._guarded(self._install_others))

    def _install_others(self) -> None:
        wanted = [package.requirement for package in self.missing() if package.name != "torch"]
        if not wanted:
            self._end(0)
            return
        own = tempfile.mkdtemp(prefix="InteractiveSeg-", dir=slicer.app.temporaryPath)  # not shared with other users
        constraints = Path(own) / "kept-packages.txt"
        constraints.write_text(kept_versions(), "utf-8")
        self._pip(["--only-binary=:all:", *wanted], constraints)

    def _pip(self, arguments: list[str], constraints: Path) -> None:
        """By ``slicer.packaging``, which does not block, or before Slicer 5.11 by ``slicer.util``, which does."""
        try:
            from slicer.packaging import pip_install
        except ImportError:
            slicer.util.pip_install([*arguments, "--constraint", str(constraints)])
            self._end(0)
            return
        pip_install(
            arguments,
            constraints=constraints,
            blocking=False,
            show_progress=False,
            requester="InteractiveSeg",
            logCallback=self._guarded(self._on_line),
            completedCallback=self._guarded(self._end),
        )
        if slicer.app.testingEnabled():  # in this mode it blocks and calls no callback
            self._end(0)

    def _on_line(self, line: str) -> None:
        if line.strip():
            self._lines.append(line.strip())
            self.controller.say(_("Installing packages: {line}").format(line=line.strip()))

    def _end(self, code: int) -> None:
        missing = self.missing()
        if code != 0 or missing:
            names = ", ".join(package.name for package in missing)
            last = next((line for line in reversed(self._lines) if "ERROR" in line), "".join(self._lines[-1:]))
            text = _("The packages were not installed ({names}): pip ended with code {code}. {last}")
            self._fail(text.format(names=names, code=code, last=last).strip())
            return
        self.is_busy = False
        self.controller.client.try_again()
        self.controller.say(_("All packages are installed."))
        go_on, self._go_on = self._go_on, lambda: None
        with self.controller.errors_shown():
            go_on()

    def _fail(self, text: str) -> None:
        self.is_busy, self._go_on = False, lambda: None
        self.failures += 1
        self.controller.say(text, is_error=True)


def _question(missing: list[Package]) -> str:
    lines = "\n".join(f"    {package.described}" for package in missing)
    return _(
        "InteractiveSeg needs these Python packages, which are missing in Slicer. They will be downloaded from the "
        "Python Package Index and installed into Slicer's own Python:\n\n{lines}\n\nInstall them?"
    ).format(lines=lines)
