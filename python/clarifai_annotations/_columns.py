"""Names of columns: which ones say that a table names annotations, not inputs alone."""

from __future__ import annotations

import re

ANNOTATIONS = re.compile(r".*annotationids?|annotations?|(ann|anno|bbox|box|region)?ids?", re.IGNORECASE)
"""Names of columns with the IDs of annotations, without punctuation. The API calls them ``id``, beside ``input_id``."""


def names_annotations(column: str) -> bool:
    """Tell whether a column seems to hold the IDs of annotations.

    Args:
        column: Its name.

    """
    return ANNOTATIONS.fullmatch(re.sub(r"[\W_]", "", column)) is not None
