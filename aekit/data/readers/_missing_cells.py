"""List the cells that stand for a missing value, as programs and people write them."""

from __future__ import annotations

MISSING = (
    "",
    *"? NA N/A n/a <NA> NaN nan NAN -nan -NaN NaT null NULL Null nul None \\N".split(),
    *("#N/A", "#NA", "#N/A N/A", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
)
"""Cells that are missing values in a column of numbers."""
PLACEHOLDERS = (
    *"- -- --- \u2013 \u2014 . .. ... * ** #".split(),
    *"na n.a. N.A. n.d. N.D. nd none nil missing Missing unknown Unknown error Error ERROR".split(),
    *("no data", "No data", "No Data", "NODATA", "not available", "Not available", "Not Available", "n/d", "N/D"),
    *"(blank) (null) (NULL) [null] [NULL] nodata OVLD OL Over over BadVal Bad Invalid invalid".split(),
    *"#DIV/0! #REF! #VALUE! #NUM! #NAME? #NULL!".split(),
    # The same in other languages: Excel writes them into CSV files.
    *"#NV #WERT! #BEZUG! #ZAHL! #N/D #N/B #VALEUR! #NOMBRE! #NOM? #VALOR! #WAARDE! #VALORE!".split(),
    *"#\u00a1DIV/0! #\u00a1VALOR! #\u00a1REF! #\u00a1NUM! #\u00bfNOMBRE? #CALC! #SPILL! #RIF!".split(),
    *("#" * count for count in range(2, 21)),  # of cells that are too narrow
)
"""Cells that stand for a missing value in a column of numbers too, which is worth a line."""
NO_LABEL = ("NA", "NaN", "nan", "<NA>", "?")
"""Texts that stand for a missing label, as R and pandas write it."""
