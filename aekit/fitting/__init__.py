"""What a run does around the loop: it puts objectives together, sets the optimizer, goes through phases, caches features."""
