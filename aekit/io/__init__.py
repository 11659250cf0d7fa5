"""Read and write what leaves the process: atomic files, locks, weights in files, devices, text tables."""
