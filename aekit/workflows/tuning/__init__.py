"""Search for the recipe of the best encoder within a time budget."""
