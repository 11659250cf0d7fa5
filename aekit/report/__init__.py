"""Pages and cards for people: model cards, picture grids, run reports."""
