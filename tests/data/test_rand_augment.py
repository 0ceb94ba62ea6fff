"""RandAugment's operations against Pillow, torchvision, timm and short loops."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from mvit_np.data import rand_augment as module
from mvit_np.data.rand_augment import FILL, GEOMETRIC, OPERATIONS, operated, rand_augment

AFFINE, BILINEAR = Image.Transform.AFFINE, Image.Resampling.BILINEAR
GREY = (FILL, FILL, FILL)
BLENDS = [name for name, (_, numbers_at) in OPERATIONS.items() if numbers_at is module._factor]
LOOKS_AT_THE_CLIP = ["AutoContrast", "Equalize", "ContrastIncreasing"]


def moved(picture, matrix):
    """By Pillow, with our fill."""
    fill = GREY if picture.mode == "RGB" else FILL
    return picture.transform(picture.size, AFFINE, matrix, resample=BILINEAR, fillcolor=fill)


def turned(picture, degrees):
    fill = GREY if picture.mode == "RGB" else FILL
    return picture.rotate(degrees, resample=BILINEAR, fillcolor=fill)


def lightened(picture, added):
    return Image.eval(picture, lambda level: min(255, level + added) if level < 128 else level)


PILLOWS = {  # what Pillow does to a picture under each of these numbers
    "AutoContrast": (ImageOps.autocontrast, [()]),
    "Equalize": (ImageOps.equalize, [()]),
    "Invert": (ImageOps.invert, [()]),
    "Rotate": (turned, [(21.0,), (-21.0,), (3.5,), (90.0,), (0.0,)]),
    "PosterizeIncreasing": (ImageOps.posterize, [(1,), (2,), (4,), (8,)]),
    "SolarizeIncreasing": (ImageOps.solarize, [(0,), (77,), (128,), (256,)]),
    "SolarizeAdd": (lightened, [(0,), (77,), (110,)]),
    "ColorIncreasing": (lambda x, f: ImageEnhance.Color(x).enhance(f), [(0.1,), (1.0,), (1.63,)]),
    "ContrastIncreasing": (lambda x, f: ImageEnhance.Contrast(x).enhance(f), [(0.37,), (1.63,)]),
    "BrightnessIncreasing": (lambda x, f: ImageEnhance.Brightness(x).enhance(f), [(0.1,), (1.6,)]),
    "SharpnessIncreasing": (lambda x, f: ImageEnhance.Sharpness(x).enhance(f), [(0.1,), (1.63,)]),
    "ShearX": (lambda x, s: moved(x, (1, s, 0, 0, 1, 0)), [(0.21,), (-0.3,), (0.0,)]),
    "ShearY": (lambda x, s: moved(x, (1, 0, 0, s, 1, 0)), [(0.21,), (-0.3,)]),
    "TranslateXRel": (lambda x, s: moved(x, (1, 0, s * x.size[0], 0, 1, 0)), [(0.315,), (-0.45,)]),
    "TranslateYRel": (lambda x, s: moved(x, (1, 0, 0, 0, 1, s * x.size[1])), [(0.2,), (-0.45,)]),
}
EACH = [(name, numbers) for name, (_, cases) in PILLOWS.items() for numbers in cases]


def after(clip, name, *numbers):
    """One operation."""
    return operated(clip, [(name, numbers)])


def clip_of(rng, frames=1, h=21, w=34, channels=3):
    """Levels that are not all taken, and not equally often, under noise of neighbouring pixels."""
    slope = np.linspace(20, 180, w) + np.linspace(0, 40, h)[:, None]
    noise = rng.normal(0, 12, (frames, h, w, channels)) + 10 * np.arange(channels)
    return (slope[..., None] + noise).clip(0, 255).astype(np.uint8)


def as_picture(frame):
    return Image.fromarray(frame if frame.shape[-1] == 3 else frame[..., 0])


def assert_near(ours, theirs, most):
    assert ours.dtype == np.uint8 and ours.flags.writeable
    assert np.abs(ours.astype(int) - np.asarray(theirs).reshape(ours.shape)).max() <= most


# -- one operation ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name, numbers", EACH)
@pytest.mark.parametrize("channels", [1, 3])
def test_operations_are_pillows(rng, name, numbers, channels):
    clip = clip_of(rng, channels=channels)
    before = clip.copy()
    assert_near(after(clip, name, *numbers)[0], PILLOWS[name][0](as_picture(clip[0]), *numbers), 0)
    assert np.array_equal(clip, before)


TORCHVISIONS = [  # levels by which they may differ: its means are not rounded, Pillow's are
    ("AutoContrast", "autocontrast", (), 1),
    ("Equalize", "equalize", (), 0),
    ("Invert", "invert", (), 0),
    ("PosterizeIncreasing", "posterize", (2,), 0),
    ("SolarizeIncreasing", "solarize", (77,), 0),
    *[("BrightnessIncreasing", "adjust_brightness", (factor,), 1) for factor in (0.37, 1.63)],
    *[("ContrastIncreasing", "adjust_contrast", (factor,), 1) for factor in (0.37, 1.63)],
    *[("ColorIncreasing", "adjust_saturation", (factor,), 1) for factor in (0.37, 1.63)],
    *[("SharpnessIncreasing", "adjust_sharpness", (factor,), 1) for factor in (0.37, 1.63)],
]


@pytest.mark.parametrize("name, theirs, numbers, most", TORCHVISIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_operations_are_torchvisions(rng, name, theirs, numbers, most, channels):
    pytest.importorskip("torch_models", reason="parity needs torch and torchvision")
    import torch
    from torchvision.transforms.v2 import functional

    clip = clip_of(rng, channels=channels)
    tensor = torch.from_numpy(np.moveaxis(clip, -1, 1).copy())
    tensor = getattr(functional, theirs)(tensor, *numbers)
    assert_near(after(clip, name, *numbers), np.moveaxis(tensor.numpy(), 1, -1), most)


def test_amounts_are_timms():
    timm = pytest.importorskip("timm.data.auto_augment", reason="parity with timm needs timm")
    assert list(OPERATIONS) == timm.rand_augment_choices("", increasing=True)
    for name, (_, numbers_at) in OPERATIONS.items():
        for level in (0, 0.05, 0.37, 0.64, 0.7, 0.75, 1):
            theirs = timm.LEVEL_TO_ARG[name](10 * level, {}) if timm.LEVEL_TO_ARG[name] else ()
            ours = numbers_at(level, np.random.default_rng(0))
            if name in (*GEOMETRIC, *BLENDS):
                centre = 0 if name in GEOMETRIC else 1
                drawn = [numbers_at(level, np.random.default_rng(seed))[0] for seed in range(20)]
                reached = {round(abs(number - centre), 9) for number in drawn}
                assert round(abs(theirs[0] - centre), 9) in reached and len(reached) <= 2
            else:
                assert ours == theirs


def test_signs_are_tossed(rng):
    for name in (*GEOMETRIC, "ColorIncreasing"):
        centre = 0 if name in GEOMETRIC else 1
        positive = [OPERATIONS[name][1](0.7, rng)[0] > centre for _ in range(400)]
        assert np.mean(positive) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("name", LOOKS_AT_THE_CLIP)
@pytest.mark.parametrize("channels", [1, 3])
def test_what_looks_at_the_levels_looks_at_all_frames(rng, name, channels):
    """So a clip is changed as Pillow changes one tall picture of all its frames."""
    darker = np.array([1, 2, 3, 4], np.uint8).reshape(4, 1, 1, 1)
    clip = clip_of(rng, 4, channels=channels) // darker
    operation, cases = PILLOWS[name]
    theirs = operation(as_picture(clip.reshape(1, -1, *clip.shape[2:])[0]), *cases[-1])
    assert_near(after(clip, name, *cases[-1]), theirs, 0)
    alone = np.concatenate([after(clip[k : k + 1], name, *cases[-1]) for k in range(4)])
    assert not np.array_equal(after(clip, name, *cases[-1]), alone)


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name not in LOOKS_AT_THE_CLIP])
def test_what_does_not_changes_a_frame_alone_as_in_the_clip(rng, name):
    clip, numbers = clip_of(rng, 3), OPERATIONS[name][1](0.7, rng)
    alone = np.concatenate([after(clip[k : k + 1], name, *numbers) for k in range(3)])
    assert np.array_equal(after(clip, name, *numbers), alone)


@pytest.mark.parametrize("factor", [0.1, 0.37, 1.63, 1.9])
def test_blends_are_the_formula_cut_off_to_a_level(rng, factor):
    clip = clip_of(rng)
    x = clip.astype(float)
    grey = (clip @ np.array([19595, 38470, 7471]) + 32768) // 65536  # 0.299, 0.587, 0.114; rounded
    blurred = x.copy()
    for i, j in np.ndindex(19, 32):
        around = x[0, i : i + 3, j : j + 3]
        blurred[0, i + 1, j + 1] = np.round((around.sum(axis=(0, 1)) + 4 * around[1, 1]) / 13)
    neutrals = {
        "BrightnessIncreasing": 0,
        "ContrastIncreasing": np.round(grey.mean()),
        "ColorIncreasing": grey[..., None],
        "SharpnessIncreasing": blurred,
    }
    for name, neutral in neutrals.items():
        lost = np.clip(neutral + factor * (x - neutral), 0, 255) - after(clip, name, factor)
        assert -1e-3 < lost.min() and lost.max() < 1


def test_turning_is_the_loop_cut_off_to_a_level(rng):
    clip, cos, sin = clip_of(rng, h=9, w=12), np.cos(np.pi / 9), np.sin(np.pi / 9)
    ours = after(clip, "Rotate", 20.0)[0]
    held = np.pad(clip[0].astype(float), ((1, 1), (1, 1), (0, 0)), "edge")
    for y, x in np.ndindex(9, 12):
        u = cos * (x + 0.5 - 6) - sin * (y + 0.5 - 4.5) + 6
        v = sin * (x + 0.5 - 6) + cos * (y + 0.5 - 4.5) + 4.5
        (left, dx), (top, dy) = divmod(u + 0.5, 1), divmod(v + 0.5, 1)  # in the padded picture
        if 0 <= u < 12 and 0 <= v < 9:
            rows = held[int(top) : int(top) + 2, int(left) : int(left) + 2]
            lost = np.einsum("i,j,ijc", [1 - dy, dy], [1 - dx, dx], rows) - ours[y, x]
            assert -1e-3 < lost.min() and lost.max() < 1
        else:
            assert (ours[y, x] == FILL).all()


def test_identities(rng):
    clip = clip_of(rng, 2)
    square = clip[:, :, :21]
    assert np.array_equal(after(after(clip, "Invert"), "Invert"), clip)
    assert np.array_equal(after(after(square, "Rotate", 90), "Rotate", -90), square)
    assert np.array_equal(after(clip, "PosterizeIncreasing", 8), clip)
    assert not after(clip, "PosterizeIncreasing", 0).any()
    for name in BLENDS:
        assert np.array_equal(after(clip, name, 1.0), clip)
    right = after(clip, "TranslateXRel", 0.5)
    assert np.array_equal(right[:, :, :17], clip[:, :, 17:]) and (right[:, :, 17:] == FILL).all()
    sheared = after(clip.swapaxes(1, 2), "ShearX", 0.2).swapaxes(1, 2)
    assert np.array_equal(after(clip, "ShearY", 0.2), sheared)
    stretched = after(clip, "AutoContrast")
    assert stretched.min(axis=(0, 1, 2)).tolist() == [0, 0, 0]
    assert stretched.max(axis=(0, 1, 2)).min() >= 254  # 255 times 1 - 1e-16 is cut off


@pytest.mark.parametrize("name", [*GEOMETRIC, *BLENDS, "SolarizeIncreasing", "SolarizeAdd"])
@pytest.mark.parametrize("channels", [1, 3])
def test_magnitude_0_changes_nothing(rng, name, channels):
    clip = clip_of(rng, 3, channels=channels)
    assert np.array_equal(after(clip, name, *OPERATIONS[name][1](0, rng)), clip)


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_magnitude_is_possible(rng, name, channels):
    clip = clip_of(rng, 2, channels=channels)
    for level in np.linspace(0, 1, 41):
        assert after(clip, name, *OPERATIONS[name][1](level, rng)).shape == clip.shape


def test_levels_that_are_equally_frequent_are_equal_already(rng):
    clip = rng.permutation(np.arange(256 * 6, dtype=np.uint16) % 256).astype(np.uint8)
    clip = np.stack([clip, rng.permutation(clip), clip[::-1]], axis=-1).reshape(2, 32, 24, 3)
    assert np.array_equal(after(clip, "Equalize"), clip)


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (2, 2, 3, 1), (1, 1, 9, 3), (3, 17, 1, 1)])
def test_the_smallest_pictures(rng, name, shape):
    changed = after(clip_of(rng, *shape), name, *OPERATIONS[name][1](0.7, rng))
    assert changed.shape == shape and changed.dtype == np.uint8


@pytest.mark.parametrize("name", OPERATIONS)
def test_one_colour_everywhere(rng, name):
    clip = np.full((2, 8, 8, 3), FILL, np.uint8)
    changed = after(clip, name, *OPERATIONS[name][1](0.7, rng))
    assert (changed == changed[0, 0, 0, 0]).all()
    if name in (*GEOMETRIC, "AutoContrast", "Equalize"):
        assert (changed == FILL).all()


def test_a_grey_clip_has_no_colour_to_change(rng):
    clip = clip_of(rng, 2, channels=1)
    assert np.array_equal(after(clip, "ColorIncreasing", 0.1), clip)
    grey = clip.repeat(3, axis=-1)
    assert_near(after(grey, "ColorIncreasing", 1.63), grey, 0)


def test_a_view_is_as_good_as_an_array(rng):
    view = clip_of(rng, 4, 30, 40)[::2, ::2, ::-1]
    for name, (_, numbers_at) in OPERATIONS.items():
        numbers = numbers_at(0.7, rng)
        assert np.array_equal(after(view, name, *numbers), after(view.copy(), name, *numbers))


# -- several ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5, 33, 21, 3), (1, 24, 24, 3), (3, 16, 51, 1)])
def test_equal_frames_stay_equal_and_equal_generators_give_equal_clips(rng, shape):
    clip = np.repeat(clip_of(rng, 1, *shape[1:]), shape[0], axis=0)
    before = clip.copy()
    for seed in range(30):
        first, again = (rand_augment(clip, np.random.default_rng(seed), p=1) for _ in range(2))
        assert first.shape == shape and first.dtype == np.uint8
        assert (first == first[0]).all() and np.array_equal(first, again)
    assert np.array_equal(clip, before)


def test_a_clip_goes_through_what_was_drawn_in_that_order(rng):
    clip = clip_of(rng, 2)
    once = after(after(clip, "Rotate", 9.0), "PosterizeIncreasing", 3)
    both = [("Rotate", (9.0,)), ("PosterizeIncreasing", (3,))]
    assert np.array_equal(operated(clip, both), once)
    assert not np.array_equal(operated(clip, both[::-1]), once)


def test_each_operation_is_drawn_equally_often(rng, monkeypatch):
    made = dict.fromkeys(OPERATIONS, 0)

    def counting(name):
        def operation(picture, *numbers):
            made[name] += 1 / (len(clip) if name in module.FRAME_BY_FRAME else 1)
            return picture

        return operation

    for name, (_, numbers_at) in OPERATIONS.items():
        monkeypatch.setitem(OPERATIONS, name, (counting(name), numbers_at))
    clip = np.zeros((2, 1, 1, 3), np.uint8)
    for _ in range(2000):
        rand_augment(clip, rng)
    assert sum(made.values()) / 2000 == pytest.approx(4 * 0.5, abs=0.1)
    assert min(made.values()) > 200 and max(made.values()) < 340  # 267 each on average

    made.update(dict.fromkeys(made, 0))
    for _ in range(200):
        rand_augment(clip, rng, layers=2, p=1, geometric=False)
    assert sum(made.values()) == 400 and all(made[name] == 0 for name in GEOMETRIC)


def test_levels_are_normal_and_cut_off(rng, monkeypatch):
    levels = []
    for name in OPERATIONS:
        noted = (lambda picture, level: picture, lambda level, rng: (levels.append(level),))
        monkeypatch.setitem(OPERATIONS, name, noted)
    for _ in range(300):
        rand_augment(np.zeros((1, 1, 1, 3), np.uint8), rng)
    assert np.mean(levels) == pytest.approx(0.7, abs=0.01)
    assert np.std(levels) == pytest.approx(0.05, abs=0.008)
    levels.clear()
    for _ in range(100):
        rand_augment(np.zeros((1, 1, 1, 3), np.uint8), rng, magnitude=9, deviation=20)
    assert min(levels) == 0 and max(levels) == 1


def test_without_geometry_everything_stays_in_its_place():
    """Of a picture that is dark at the left and light at the right, all rows stay alike, and each
    side of one colour.
    """
    clip = np.full((2, 12, 20, 3), 60, np.uint8)
    clip[:, :, 10:] = 190
    kept, moves = [], []
    for seed in range(60):
        for geometric, found in ((False, kept), (True, moves)):
            changed = rand_augment(clip, np.random.default_rng(seed), p=1, geometric=geometric)
            # sharpening leaves the outermost rows alone, and blurs the middle
            inner = changed[:, 4:-4]
            sides = (inner[:, :, :6] == inner[:, :1, :1]).all() and (
                inner[:, :, -6:] == inner[:, :1, -1:]
            ).all()
            found.append(sides and (inner == inner[:, :1]).all())
    assert all(kept) and not all(moves)


@pytest.mark.parametrize("how", [{"layers": 0}, {"p": 0.0}])
def test_switched_off(rng, how):
    clip = clip_of(rng, 2)
    assert np.array_equal(rand_augment(clip, rng, **how), clip)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (
            lambda clip, rng: rand_augment(clip / 255, rng),
            TypeError,
            "array of uint8; came float64",
        ),
        (
            lambda clip, rng: rand_augment(clip[0], rng),
            ValueError,
            r"give a picture as picture\[None\]",
        ),
        (
            lambda clip, rng: rand_augment(clip[..., :2], rng),
            ValueError,
            "C = 3 or 1; came 2 channels",
        ),
        (
            lambda clip, rng: rand_augment(clip, rng, layers=-1),
            ValueError,
            "layers is a whole number",
        ),
        (lambda clip, rng: rand_augment(clip, rng, layers=1.5), ValueError, "came 1.5"),
        (
            lambda clip, rng: rand_augment(clip, rng, magnitude=11),
            ValueError,
            r"magnitude is a number in \[0, 10\]; came 11",
        ),
        (
            lambda clip, rng: rand_augment(clip, rng, deviation=-0.5),
            ValueError,
            "deviation is a number, 0 or more",
        ),
        (lambda clip, rng: rand_augment(clip, rng, p=1.5), ValueError, "p is a probability"),
    ],
)
def test_bad_input_is_named(rng, call, error, message):
    with pytest.raises(error, match=message):
        call(clip_of(rng, 2), rng)
