"""Which files are films and pictures, by their endings, and where they are in a folder."""

from __future__ import annotations

import os
from pathlib import Path

from ..backend.types import FilePath

VIDEOS = (
    ".mp4 .m4v .mov .qt .mkv .webm .avi .divx .mpg .mpeg .mpe .m1v .m2v .vob .mod .tod .ts .mts "
    ".m2ts .m2t .wmv .asf .wtv .flv .f4v .3gp .3g2 .ogv .ogm .mxf .gxf .dv .rm .rmvb .amv .nut "
    ".y4m .ivf .obu .h264 .264 .h265 .265 .hevc .mjpeg .mjpg .cine .dav .gif"
).split()
IMAGES = ".png .jpg .jpeg .jpe .jfif .webp .bmp .tif .tiff .jp2 .avif .tga .ppm .pgm .pnm".split()
# Folders that programs leave beside data, besides hidden ones.
NOT_DATA = {"__pycache__", "__MACOSX", "@eaDir", "lost+found", "$RECYCLE.BIN"}
NOT_DATA |= {"System Volume Information"}


def is_picture(path: Path) -> bool:
    """Whether its ending is a picture's."""
    return path.suffix.lower() in IMAGES


def is_media(path: Path) -> bool:
    """Whether its ending is a film's or a picture's."""
    return path.suffix.lower() in VIDEOS or is_picture(path)


def is_data(path: Path) -> bool:
    """Whether a file or folder may be data: not hidden, and not what a program left there."""
    return not path.name.startswith(".") and path.name not in NOT_DATA


def files_in(folder: FilePath) -> list[Path]:
    """The files in a folder and in those inside it, as links lead, sorted, if they are data.

    Links to nothing count, so that somebody hears of them; pipes and devices do not. Raises OSError
    for a folder that may not be looked into.
    """
    found, seen = [], set()
    for parent, folders, files in os.walk(folder, onerror=_fail, followlinks=True):
        known = os.path.realpath(parent) in seen  # a link that leads back
        folders[:] = [] if known else [name for name in folders if is_data(Path(name))]
        found += [Path(parent, name) for name in files if not known and is_data(Path(name))]
        seen.add(os.path.realpath(parent))
    return sorted(path for path in found if path.is_file() or not path.exists())


def _fail(error):
    raise error
