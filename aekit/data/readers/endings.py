"""Endings of files, in lower case, by what is in them: the one list of each, for readers and for the tags of sources."""

from __future__ import annotations

TEXT_ENDINGS = (".csv", ".tsv", ".tab", ".txt", ".dat", ".data", ".asc", ".vec")
"""Text tables, which may be gzipped; the last five are those of other files, too."""
CALAMINE_ENDINGS = (".xls", ".xlsb", ".ods")
"""Workbooks that calamine reads."""
SHEET_ENDINGS = (".xlsx", ".xlsm", *CALAMINE_ENDINGS)
STATISTICS_ENDINGS = (".sav", ".zsav", ".por", ".dta", ".sas7bdat", ".xpt")
"""Tables of SPSS, Stata and SAS."""
ARFF_ENDINGS = (".arff", ".arff.gz")
SURELY_TABLES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet", *SHEET_ENDINGS)
"""Files in a folder that are surely tables: a .txt beside them may be a remark."""
TABLE_ENDINGS = (
    *dict.fromkeys((*SURELY_TABLES, *TEXT_ENDINGS, *(f"{ending}.gz" for ending in TEXT_ENDINGS))),
    *ARFF_ENDINGS,
    *STATISTICS_ENDINGS,
)
DICOM_ENDINGS = (".dcm", ".dicom")
HEIF_ENDINGS = (".heic", ".heics", ".heif", ".heifs", ".hif")
IMAGE_ENDINGS = (
    *(".apng", ".avif", ".bmp", *DICOM_ENDINGS, ".dib", ".gif", *HEIF_ENDINGS),
    *".j2k .jfif .jp2 .jpe .jpeg .jpf .jpg .jpx .mpo .pbm .pgm .pjp .pjpeg .png .pnm .ppm .tga .tif .tiff .webp".split(),
)
SOUND_ENDINGS = (".aif", ".aiff", ".au", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".wav")
VIDEO_ENDINGS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv")
ARRAY_ENDINGS = (".npy", ".npz", ".gz", "-ubyte", ".idx")
