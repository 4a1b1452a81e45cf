"""The operating system: files, paths, processes, locks."""
