"""The marks of a report's pictures, as it says them."""

from __future__ import annotations

from fusionlib.data.cache import DecodedCache
from fusionlib.report.content import Mark
from fusionlib.runs.marks import Marks


def marks_of(marks: Marks, pictures: DecodedCache) -> list[Mark]:
    """What is marked in these pictures, in whichever data they were marked, in order of the pictures.

    Pictures of one content have the same marks; they are said of the first one. `pixels` are those of the file's own
    size. Raises `DataError` that names a picture that cannot be read.
    """
    places = {pictures.picture_key(index): index for index in reversed(range(len(pictures)))}
    made = []
    for one in sorted(marks.of_pictures(places.keys()), key=lambda one: places[one.picture]):
        height, width = pictures.size(places[one.picture])
        pixels = max(1, round(one.share * height * width))
        box = (one.x, one.y, one.width, one.height)
        made.append(Mark(pictures.name(places[one.picture]), one.note, pixels, one.shape, box))
    return made
