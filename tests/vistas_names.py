"""The classes of Mapillary Vistas as the configs of the download have them: `readable`, in the order of the ids."""

from __future__ import annotations

_V12 = """
    Bird; Ground Animal; Curb; Fence; Guard Rail; Barrier; Wall; Bike Lane; Crosswalk - Plain; Curb Cut; Parking;
    Pedestrian Area; Rail Track; Road; Service Lane; Sidewalk; Bridge; Building; Tunnel; Person; Bicyclist;
    Motorcyclist; Other Rider; Lane Marking - Crosswalk; Lane Marking - General; Mountain; Sand; Sky; Snow; Terrain;
    Vegetation; Water; Banner; Bench; Bike Rack; Billboard; Catch Basin; CCTV Camera; Fire Hydrant; Junction Box;
    Mailbox; Manhole; Phone Booth; Pothole; Street Light; Pole; Traffic Sign Frame; Utility Pole; Traffic Light;
    Traffic Sign (Back); Traffic Sign (Front); Trash Can; Bicycle; Boat; Bus; Car; Caravan; Motorcycle; On Rails;
    Other Vehicle; Trailer; Truck; Wheeled Slow; Car Mount; Ego Vehicle; Unlabeled
"""

_V20 = """
    Bird; Ground Animal; Ambiguous Barrier; Concrete Block; Curb; Fence; Guard Rail; Barrier; Road Median; Road
    Side; Lane Separator; Temporary Barrier; Wall; Bike Lane; Crosswalk - Plain; Curb Cut; Driveway; Parking;
    Parking Aisle; Pedestrian Area; Rail Track; Road; Road Shoulder; Service Lane; Sidewalk; Traffic Island; Bridge;
    Building; Garage; Tunnel; Person; Person Group; Bicyclist; Motorcyclist; Other Rider; Lane Marking - Dashed
    Line; Lane Marking - Straight Line; Lane Marking - Zigzag Line; Lane Marking - Ambiguous; Lane Marking - Arrow
    (Left); Lane Marking - Arrow (Other); Lane Marking - Arrow (Right); Lane Marking - Arrow (Split Left or
    Straight); Lane Marking - Arrow (Split Right or Straight); Lane Marking - Arrow (Straight); Lane Marking -
    Crosswalk; Lane Marking - Give Way (Row); Lane Marking - Give Way (Single); Lane Marking - Hatched (Chevron);
    Lane Marking - Hatched (Diagonal); Lane Marking - Other; Lane Marking - Stop Line; Lane Marking - Symbol
    (Bicycle); Lane Marking - Symbol (Other); Lane Marking - Text; Lane Marking (only) - Dashed Line; Lane Marking
    (only) - Crosswalk; Lane Marking (only) - Other; Lane Marking (only) - Test; Mountain; Sand; Sky; Snow; Terrain;
    Vegetation; Water; Banner; Bench; Bike Rack; Catch Basin; CCTV Camera; Fire Hydrant; Junction Box; Mailbox;
    Manhole; Parking Meter; Phone Booth; Pothole; Signage - Advertisement; Signage - Ambiguous; Signage - Back;
    Signage - Information; Signage - Other; Signage - Store; Street Light; Pole; Pole Group; Traffic Sign Frame;
    Utility Pole; Traffic Cone; Traffic Light - General (Single); Traffic Light - Pedestrians; Traffic Light -
    General (Upright); Traffic Light - General (Horizontal); Traffic Light - Cyclists; Traffic Light - Other;
    Traffic Sign - Ambiguous; Traffic Sign (Back); Traffic Sign - Direction (Back); Traffic Sign - Direction
    (Front); Traffic Sign (Front); Traffic Sign - Parking; Traffic Sign - Temporary (Back); Traffic Sign - Temporary
    (Front); Trash Can; Bicycle; Boat; Bus; Car; Caravan; Motorcycle; On Rails; Other Vehicle; Trailer; Truck;
    Vehicle Group; Wheeled Slow; Water Valve; Car Mount; Dynamic; Ego Vehicle; Ground; Static; Unlabeled
"""


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in " ".join(text.split()).split(";"))


NAMES = {"v1.2": _names(_V12), "v2.0": _names(_V20)}
