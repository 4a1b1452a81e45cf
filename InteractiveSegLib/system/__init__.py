"""What the operating system gives: files, paths, processes, locks."""
