"""Ground floor: configuration, errors, paths, files, progress, logging, processes. Imports nothing else of ours."""
