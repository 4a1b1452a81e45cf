"""The Slicer side of InteractiveSeg: the only code that imports Slicer, Qt and VTK."""
