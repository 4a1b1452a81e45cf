"""Which packages are installed, how to install the others, online or offline, and whether everything works."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from slicer.i18n import tr as _

from InteractiveSegUI.actions.self_testing import SelfTesting
from InteractiveSegUI.processes.install import Installer
from InteractiveSegUI.processes.packages import offline_page, required_packages
from InteractiveSegUI.sections.section import Section


class PackagesSection(Section):
    ui_file: ClassVar[str] = "Packages.ui"

    """open_group : expands the group that contains this section"""

    def __init__(self, installer: Installer, self_testing: SelfTesting, open_group: Callable[[], None]) -> None:
        super().__init__(installer.controller)
        self._open_group = open_group
        self._installer, self._self_testing = installer, self_testing
        self._was_busy, self._failures = False, 0
        self.on_click(self.ui.installButton, installer.install)
        self.on_click(self.ui.lookAgainButton, self._look)
        self.on_click(self.ui.selfTestButton, self_testing.start, computes=True)
        self.ui.offlineButton.connect("toggled(bool)", self._show_offline_page)
        self._show_offline_page(False)

    def enter(self) -> None:
        self._look()

    def update(self) -> None:
        busy, test = self._installer.is_busy, self._self_testing
        self.ui.selfTestButton.enabled = not busy and not test.is_running
        self.ui.selfTestLabel.text = test.text
        self.ui.selfTestLabel.visible = bool(test.text)
        self.ui.installButton.enabled = not busy
        self.ui.lookAgainButton.enabled = not busy
        if self._was_busy and not busy:
            self._look()
        if self._installer.failures > self._failures:
            self._open_group()
            self.ui.offlineButton.checked = True
        self._was_busy, self._failures = busy, self._installer.failures

    def close(self) -> None:
        self._self_testing.close()

    def _look(self) -> None:
        packages = required_packages(self._installer.requirements)
        missing = [package for package in packages if package.is_missing]
        there = ", ".join(f"{package.name} {package.installed}" for package in packages if package not in missing)
        lines = [_("Installed: {names}").format(names=there)] if there else []
        if missing:
            names = ", ".join(package.described for package in missing)
            lines.append(_("Missing: {names}").format(names=names))
        self.ui.packagesLabel.text = "\n".join(lines)
        for widget in (self.ui.installButton, self.ui.lookAgainButton, self.ui.offlineButton):
            widget.visible = bool(missing)
        if not missing:
            self.ui.offlineButton.checked = False

    def _show_offline_page(self, shown: bool) -> None:
        if shown:
            self.ui.offlineText.plainText = offline_page(self._installer.requirements)
        self.ui.offlineText.visible = shown
