"""Processes beside Slicer: the worker, the learner, the installation of packages."""
