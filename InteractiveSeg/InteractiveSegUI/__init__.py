"""The scene's side of InteractiveSeg: the only code that knows of Slicer, Qt and VTK."""
