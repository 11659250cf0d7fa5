"""Reading files: pictures, IDX, numpy's formats, tables, and the folders that hold them. Sources are built from these."""
