"""Slicer's MRML-aware widgets that the panel uses, on the real scene."""

from __future__ import annotations

from typing import Any

import slicer
from PySide6.QtCore import Property, Qt, Signal
from PySide6.QtGui import QColor
from PySide6.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)


class qMRMLWidget(QWidget):
    def setMRMLScene(self, scene: slicer.vtkMRMLScene | None) -> None:
        for child in self.findChildren(QWidget):
            if hasattr(child, "setMRMLScene"):
                child.setMRMLScene(scene)


class qMRMLNodeComboBox(QComboBox):
    """The nodes of some classes, and "None" first where that is allowed."""

    currentNodeChanged = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene: slicer.vtkMRMLScene | None = None
        self._types: list[str] = []
        self._flags = {"noneEnabled": False, "addEnabled": True, "removeEnabled": True, "renameEnabled": False}
        self._observations: list[tuple[Any, int]] = []
        self._shown: str | None = None
        self.currentIndexChanged.connect(self._on_index)

    def setMRMLScene(self, scene: slicer.vtkMRMLScene | None) -> None:
        for observed, tag in self._observations:
            observed.RemoveObserver(tag)
        self._scene, self._observations = scene, []
        if scene is not None:
            events = (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndImportEvent, scene.EndCloseEvent)
            self._observations = [(scene, scene.AddObserver(event, lambda *_: self._refresh())) for event in events]
            observations = self._observations
            self.destroyed.connect(lambda: [scene.RemoveObserver(tag) for _, tag in observations])
        self._refresh()

    def currentNode(self) -> Any:
        return self._scene.GetNodeByID(self._shown) if self._scene is not None and self._shown else None

    def setCurrentNode(self, node: Any) -> None:
        self._refresh()
        self.setCurrentIndex(self.findData(node.GetID() if node is not None else ""))

    def _refresh(self) -> None:
        before = self._shown
        self.blockSignals(True)
        self.clear()
        if self._flags["noneEnabled"]:
            self.addItem("None", "")
        for node in self._nodes():
            self.addItem(node.GetName(), node.GetID())
        self.setCurrentIndex(self.findData(before or ""))
        self.blockSignals(False)
        self._on_index(self.currentIndex())

    def _nodes(self) -> list[Any]:
        if self._scene is None or self._scene.IsClosing():
            return []
        nodes = [node for kind in self._types for node in slicer.util.getNodesByClass(kind, self._scene)]
        return [node for node in nodes if not node.GetHideFromEditors()]

    def _on_index(self, index: int) -> None:
        now = self.itemData(index) or None if index >= 0 else None
        if now != self._shown:
            self._shown = now
            self.currentNodeChanged.emit(self.currentNode())

    def _set_types(self, types: list[str]) -> None:
        self._types = list(types)

    def _flag(name: str) -> Property:  # noqa: N805 (makes the properties below)
        return Property(bool, lambda self: self._flags[name], lambda self, value: self._flags.__setitem__(name, value))

    nodeTypes = Property("QStringList", lambda self: self._types, _set_types)
    noneEnabled, addEnabled = _flag("noneEnabled"), _flag("addEnabled")
    removeEnabled, renameEnabled = _flag("removeEnabled"), _flag("renameEnabled")


class qMRMLSegmentsTableView(QWidget):
    """The segments of a segmentation: visibility, colour, name; a name can be edited in place."""

    selectionChanged = Signal(object, object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._node, self._observations, self._filling, self._status_visible = None, [], False, False
        self._table = table = QTableWidget(0, 3, self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(table)
        table.setHorizontalHeaderLabels(["", "", "Name"])
        table.horizontalHeader().setSectionResizeMode(2, QHeaderView.ResizeMode.Stretch)
        table.setColumnWidth(0, 28)
        table.setColumnWidth(1, 28)
        table.verticalHeader().hide()
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        table.itemSelectionChanged.connect(self._on_selection)
        table.itemChanged.connect(self._on_item)

    def setSegmentationNode(self, node: Any) -> None:
        for observed, tag in self._observations:
            observed.RemoveObserver(tag)
        self._node, self._observations = node, []
        if node is not None:
            segmentation, events = node.GetSegmentation(), slicer.vtkSegmentation
            for event in (events.SegmentAdded, events.SegmentRemoved, events.SegmentModified):
                self._observations.append((segmentation, segmentation.AddObserver(event, lambda *_: self._fill())))
        self._fill()

    def segmentationNode(self) -> Any:
        return self._node

    def selectedSegmentIDs(self) -> list[str]:
        rows = sorted({index.row() for index in self._table.selectedIndexes()})
        return [self._table.item(row, 2).data(Qt.ItemDataRole.UserRole) for row in rows]

    def setSelectedSegmentIDs(self, ids: list[str]) -> None:
        if ids == self.selectedSegmentIDs():
            return
        self._table.clearSelection()
        for row in range(self._table.rowCount()):
            if self._table.item(row, 2).data(Qt.ItemDataRole.UserRole) in ids:
                self._table.selectRow(row)

    def _set_mode(self, mode: int) -> None:
        self._table.setSelectionMode(QAbstractItemView.SelectionMode(mode))

    def _show_status(self, shown: bool) -> None:
        self._status_visible = shown

    selectionMode = Property(int, lambda self: self._table.selectionMode().value, _set_mode)
    statusColumnVisible = Property(bool, lambda self: self._status_visible, _show_status)

    def _fill(self) -> None:
        chosen = self.selectedSegmentIDs()
        self._filling = True
        ids = list(self._node.GetSegmentation().GetSegmentIDs()) if self._node is not None else []
        self._table.setRowCount(len(ids))
        for row, segment_id in enumerate(ids):
            segment = self._node.GetSegmentation().GetSegment(segment_id)
            visible, colour, name = QTableWidgetItem("\u25c9"), QTableWidgetItem(), QTableWidgetItem(segment.GetName())
            colour.setData(Qt.ItemDataRole.DecorationRole, QColor.fromRgbF(*segment.GetColor()))
            for item in (visible, colour):
                item.setFlags(Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsEnabled)
            name.setData(Qt.ItemDataRole.UserRole, segment_id)
            for column, item in enumerate((visible, colour, name)):
                self._table.setItem(row, column, item)
        self.setSelectedSegmentIDs(chosen)
        self._filling = False

    def _on_selection(self) -> None:
        if not self._filling:
            self.selectionChanged.emit(None, None)

    def _on_item(self, item: QTableWidgetItem) -> None:
        if not self._filling and item.column() == 2:
            segment = self._node.GetSegmentation().GetSegment(item.data(Qt.ItemDataRole.UserRole))
            segment.SetName(item.text())


WIDGETS = {cls.__name__: cls for cls in (qMRMLWidget, qMRMLNodeComboBox, qMRMLSegmentsTableView)}
