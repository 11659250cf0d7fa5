"""Draw charts, image grids, sprite sheets, thumbnails and the parts of HTML pages."""
