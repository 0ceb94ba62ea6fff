"""RandAugment's changes against Pillow, torchvision, timm and short loops."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from mvit_np.data import rand_augment as changes
from mvit_np.data.rand_augment import CHANGES, FILL, GEOMETRIC, rand_augment

AFFINE, BILINEAR, GREY = Image.Transform.AFFINE, Image.Resampling.BILINEAR, (FILL, FILL, FILL)


def moved(picture, matrix):
    """By Pillow, with our fill."""
    fill = GREY if picture.mode == "RGB" else FILL
    return picture.transform(picture.size, AFFINE, matrix, resample=BILINEAR, fillcolor=fill)


def turned(picture, degrees):
    return picture.rotate(degrees, resample=BILINEAR, fillcolor=GREY if picture.mode == "RGB" else FILL)


def lightened(picture, added):
    return Image.eval(picture, lambda level: min(255, level + added) if level < 128 else level)


# (ours, Pillow's, amount, levels by which they may differ: Pillow cuts off what we round)
PILLOWS = [
    (changes.auto_contrast, ImageOps.autocontrast, (), 1),
    (changes.equalize, ImageOps.equalize, (), 0),
    (changes.invert, ImageOps.invert, (), 0),
    *[(changes.posterize, ImageOps.posterize, (bits,), 0) for bits in (1, 2, 4, 8)],
    *[(changes.solarize, ImageOps.solarize, (threshold,), 0) for threshold in (0, 77, 128, 256)],
    *[(changes.solarize_add, lightened, (added,), 0) for added in (0, 77, 110)],
    *[(changes.brightness, lambda x, f: ImageEnhance.Brightness(x).enhance(f), (f,), 1) for f in (0.1, 0.37, 1.0, 1.63)],
    *[(changes.contrast, lambda x, f: ImageEnhance.Contrast(x).enhance(f), (f,), 1) for f in (0.1, 0.37, 1.0, 1.63)],
    *[(changes.colour, lambda x, f: ImageEnhance.Color(x).enhance(f), (f,), 1) for f in (0.1, 0.37, 1.0, 1.63)],
    *[(changes.sharpness, lambda x, f: ImageEnhance.Sharpness(x).enhance(f), (f,), 1) for f in (0.1, 0.37, 1.0, 1.63)],
    *[(changes.rotate, turned, (degrees,), 1) for degrees in (21.0, -21.0, 3.5, 90.0, 0.0)],
    *[(changes.shear_x, lambda x, s: moved(x, (1, s, 0, 0, 1, 0)), (s,), 1) for s in (0.21, -0.3, 0.0)],
    *[(changes.shear_y, lambda x, s: moved(x, (1, 0, 0, s, 1, 0)), (s,), 1) for s in (0.21, -0.3)],
    *[(changes.translate_x, lambda x, s: moved(x, (1, 0, s * x.size[0], 0, 1, 0)), (s,), 1) for s in (0.315, -0.45, 0.2)],
    *[(changes.translate_y, lambda x, s: moved(x, (1, 0, 0, 0, 1, s * x.size[1])), (s,), 1) for s in (0.315, -0.45, 0.2)],
]


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


def named(value):
    return getattr(value, "__name__", None) or (str(value) if isinstance(value, tuple) else None)


# -- one change -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ours, theirs, amount, most", PILLOWS, ids=named)
@pytest.mark.parametrize("channels", [1, 3])
def test_changes_are_pillows(rng, ours, theirs, amount, most, channels):
    clip = clip_of(rng, channels=channels)
    before = clip.copy()
    assert_near(ours(clip, *amount)[0], theirs(as_picture(clip[0]), *amount), most)
    assert np.array_equal(clip, before)


TORCHVISIONS = [  # it cuts off too, where there is a grey of each pixel that as well
    (changes.auto_contrast, "autocontrast", (), 1),
    (changes.equalize, "equalize", (), 0),
    (changes.invert, "invert", (), 0),
    (changes.posterize, "posterize", (2,), 0),
    (changes.solarize, "solarize", (77,), 0),
    *[(changes.brightness, "adjust_brightness", (factor,), 1) for factor in (0.37, 1.63)],
    *[(changes.contrast, "adjust_contrast", (factor,), 2) for factor in (0.37, 1.63)],
    *[(changes.colour, "adjust_saturation", (factor,), 2) for factor in (0.37, 1.63)],
    *[(changes.sharpness, "adjust_sharpness", (factor,), 1) for factor in (0.37, 1.63)],
]


@pytest.mark.parametrize("ours, theirs, amount, most", TORCHVISIONS, ids=named)
@pytest.mark.parametrize("channels", [1, 3])
def test_changes_are_torchvisions(rng, ours, theirs, amount, most, channels):
    pytest.importorskip("torch_models", reason="parity needs them: pip install torch torchvision")
    import torch
    from torchvision.transforms.v2 import functional

    clip = clip_of(rng, channels=channels)
    tensor = getattr(functional, theirs)(torch.from_numpy(np.moveaxis(clip, -1, 1).copy()), *amount)
    assert_near(ours(clip, *amount), np.moveaxis(tensor.numpy(), 1, -1), most)


def test_amounts_are_timms():
    timm = pytest.importorskip("timm.data.auto_augment", reason="parity with timm needs it: pip install timm")
    assert list(CHANGES) == timm.rand_augment_choices("", increasing=True)
    for name, (_, amount) in CHANGES.items():
        for level in (0, 0.05, 0.37, 0.64, 0.7, 0.75, 1):
            theirs = timm.LEVEL_TO_ARG[name] and timm.LEVEL_TO_ARG[name](10 * level, {})
            ours = amount and amount(level, np.random.default_rng(0))
            if name in (*GEOMETRIC, *(n for n in CHANGES if changes._factor is CHANGES[n][1])):
                centre = 0 if name in GEOMETRIC else 1
                reached = {round(abs(amount(level, np.random.default_rng(seed))[0] - centre), 9) for seed in range(20)}
                assert round(abs(theirs[0] - centre), 9) in reached and len(reached) <= 2
            else:
                assert ours == theirs


def test_signs_are_tossed(rng):
    for name in (*GEOMETRIC, "ColorIncreasing"):
        centre = 0 if name in GEOMETRIC else 1
        positive = [CHANGES[name][1](0.7, rng)[0] > centre for _ in range(400)]
        assert np.mean(positive) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("name", ["auto_contrast", "equalize", "contrast"])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_looks_at_the_pixels_looks_at_all_frames(rng, name, channels):
    """So a clip is changed as Pillow changes one tall picture of all its frames, and equal pixels stay equal."""
    clip = clip_of(rng, 4, channels=channels) // np.array([1, 2, 3, 4], np.uint8).reshape(4, 1, 1, 1)
    theirs = {
        "auto_contrast": ImageOps.autocontrast,
        "equalize": ImageOps.equalize,
        "contrast": lambda x: ImageEnhance.Contrast(x).enhance(1.63),
    }[name](as_picture(clip.reshape(1, -1, *clip.shape[2:])[0]))
    ours = getattr(changes, name)(clip, *([1.63] if name == "contrast" else []))
    assert_near(ours, theirs, 1)


@pytest.mark.parametrize("name", [name for name in CHANGES if name not in ("AutoContrast", "Equalize", "ContrastIncreasing")])
def test_what_does_not_changes_a_frame_alone_as_in_the_clip(rng, name):
    change, amount = CHANGES[name]
    clip, amounts = clip_of(rng, 3), amount(0.7, rng) if amount else ()
    assert np.array_equal(change(clip, *amounts), np.concatenate([change(clip[k : k + 1], *amounts) for k in range(3)]))


@pytest.mark.parametrize("factor", [0.1, 0.37, 1.63, 1.9])
def test_blends_go_to_the_nearest_level(rng, factor):
    clip = clip_of(rng)
    x = clip.astype(float)
    grey = x @ np.array([0.299, 0.587, 0.114])
    blurred = x.copy()
    for i, j in np.ndindex(19, 32):
        around = x[0, i : i + 3, j : j + 3]
        blurred[0, i + 1, j + 1] = np.round((around.sum(axis=(0, 1)) + 4 * around[1, 1]) / 13)
    for change, neutral in (
        (changes.brightness, 0),
        (changes.contrast, grey.mean()),
        (changes.colour, grey[..., None]),
        (changes.sharpness, blurred),
    ):
        exact = np.clip(neutral + factor * (x - neutral), 0, 255)
        assert np.abs(change(clip, factor) - exact).max() < 0.5001


def test_turning_is_the_loop(rng):
    clip, cos, sin = clip_of(rng, h=9, w=12), np.cos(np.pi / 9), np.sin(np.pi / 9)
    ours, held = changes.rotate(clip, 20.0)[0], np.pad(clip[0].astype(float), ((1, 1), (1, 1), (0, 0)), "edge")
    for y, x in np.ndindex(9, 12):
        u = cos * (x + 0.5 - 6) - sin * (y + 0.5 - 4.5) + 6
        v = sin * (x + 0.5 - 6) + cos * (y + 0.5 - 4.5) + 4.5
        (left, dx), (top, dy) = divmod(u + 0.5, 1), divmod(v + 0.5, 1)  # in the padded picture
        if 0 <= u < 12 and 0 <= v < 9:
            rows = held[int(top) : int(top) + 2, int(left) : int(left) + 2]
            exact = np.einsum("i,j,ijc", [1 - dy, dy], [1 - dx, dx], rows)
            assert np.abs(ours[y, x] - exact).max() < 0.501
        else:
            assert (ours[y, x] == FILL).all()


def test_identities(rng):
    clip = clip_of(rng, 2)
    assert np.array_equal(changes.invert(changes.invert(clip)), clip)
    assert np.array_equal(changes.rotate(changes.rotate(clip[:, :, :21], 90), -90), clip[:, :, :21])
    for change in (changes.brightness, changes.contrast, changes.colour, changes.sharpness):
        assert np.array_equal(change(clip, 1.0), clip)
    for change in (changes.rotate, changes.shear_x, changes.shear_y, changes.translate_x, changes.translate_y):
        assert np.array_equal(change(clip, 0.0), clip)
    assert np.array_equal(changes.translate_x(clip, 0.5)[:, :, :17], clip[:, :, 17:])
    assert (changes.translate_x(clip, 0.5)[:, :, 17:] == FILL).all()
    assert np.array_equal(changes.shear_y(clip, 0.2), changes.shear_x(clip.swapaxes(1, 2), 0.2).swapaxes(1, 2))
    assert changes.auto_contrast(clip).min(axis=(0, 1, 2)).tolist() == [0, 0, 0]
    assert changes.auto_contrast(clip).max(axis=(0, 1, 2)).tolist() == [255, 255, 255]


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (2, 2, 3, 1), (1, 1, 9, 3), (3, 17, 1, 1)])
def test_the_smallest_pictures(rng, name, shape):
    change, amount = CHANGES[name]
    changed = change(clip_of(rng, *shape), *(amount(0.7, rng) if amount else ()))
    assert changed.shape == shape and changed.dtype == np.uint8


@pytest.mark.parametrize("name", CHANGES)
def test_one_colour_everywhere(rng, name):
    change, amount = CHANGES[name]
    changed = change(np.full((2, 8, 8, 3), FILL, np.uint8), *(amount(0.7, rng) if amount else ()))
    assert (changed == changed[0, 0, 0, 0]).all()
    if name in (*GEOMETRIC, "AutoContrast", "Equalize"):
        assert (changed == FILL).all()


def test_a_grey_clip_has_no_colour_to_change(rng):
    clip = clip_of(rng, 2, channels=1)
    assert np.array_equal(changes.colour(clip, 0.1), clip)
    grey = clip.repeat(3, axis=-1)
    assert_near(changes.colour(grey, 1.63), grey, 0)


def test_a_view_is_as_good_as_an_array(rng):
    view = clip_of(rng, 4, 30, 40)[::2, ::2, ::-1]
    for change, amount in CHANGES.values():
        amounts = amount(0.7, rng) if amount else ()
        assert np.array_equal(change(view, *amounts), change(view.copy(), *amounts))


# -- several ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5, 33, 21, 3), (1, 24, 24, 3), (3, 16, 51, 1)])
def test_equal_frames_stay_equal_and_equal_generators_give_equal_clips(rng, shape):
    clip = np.repeat(clip_of(rng, 1, *shape[1:]), shape[0], axis=0)
    before = clip.copy()
    for seed in range(30):
        first, again = (rand_augment(clip, np.random.default_rng(seed), p=1) for _ in range(2))
        assert first.shape == shape and first.dtype == np.uint8
        assert (first == first[0]).all() and np.array_equal(first, again)
    assert np.array_equal(clip, before)


def test_each_change_is_drawn_equally_often(rng, monkeypatch):
    made = dict.fromkeys(CHANGES, 0)

    def counting(name):
        def change(clip, *amount):
            made[name] += 1
            return clip

        return change

    for name, (_, amount) in CHANGES.items():
        monkeypatch.setitem(CHANGES, name, (counting(name), amount))
    clip = np.zeros((1, 1, 1, 3), np.uint8)
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
    for name in CHANGES:
        monkeypatch.setitem(CHANGES, name, (lambda clip, level: clip, lambda level, rng: (levels.append(level),)))
    for _ in range(300):
        rand_augment(np.zeros((1, 1, 1, 3), np.uint8), rng)
    assert np.mean(levels) == pytest.approx(0.7, abs=0.01) and np.std(levels) == pytest.approx(0.05, abs=0.008)
    levels.clear()
    for _ in range(100):
        rand_augment(np.zeros((1, 1, 1, 3), np.uint8), rng, magnitude=9, deviation=20)
    assert min(levels) == 0 and max(levels) == 1


def test_without_geometry_everything_stays_in_its_place():
    """Of a picture that is dark at the left and light at the right, all rows stay alike, and each side of one colour."""
    clip = np.full((2, 12, 20, 3), 60, np.uint8)
    clip[:, :, 10:] = 190
    kept, moves = [], []
    for seed in range(60):
        for geometric, found in ((False, kept), (True, moves)):
            changed = rand_augment(clip, np.random.default_rng(seed), p=1, geometric=geometric)
            inner = changed[:, 4:-4]  # sharpening leaves the outermost rows alone, and blurs the middle
            sides = (inner[:, :, :6] == inner[:, :1, :1]).all() and (inner[:, :, -6:] == inner[:, :1, -1:]).all()
            found.append(sides and (inner == inner[:, :1]).all())
    assert all(kept) and not all(moves)


@pytest.mark.parametrize("how", [{"layers": 0}, {"p": 0.0}])
def test_switched_off(rng, how):
    clip = clip_of(rng, 2)
    assert np.array_equal(rand_augment(clip, rng, **how), clip)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda clip, rng: rand_augment(clip / 255, rng), TypeError, "array of uint8; came float64"),
        (lambda clip, rng: rand_augment(clip[0], rng), ValueError, r"give a picture as picture\[None\]"),
        (lambda clip, rng: rand_augment(clip[..., :2], rng), ValueError, "C = 3 or 1; came 2 channels"),
        (lambda clip, rng: rand_augment(clip, rng, layers=-1), ValueError, "layers is a whole number"),
        (lambda clip, rng: rand_augment(clip, rng, layers=1.5), ValueError, "came 1.5"),
        (lambda clip, rng: rand_augment(clip, rng, magnitude=11), ValueError, r"magnitude is a number in \[0, 10\]; came 11"),
        (lambda clip, rng: rand_augment(clip, rng, deviation=-0.5), ValueError, "deviation is a number, 0 or more"),
        (lambda clip, rng: rand_augment(clip, rng, p=1.5), ValueError, "p is a probability"),
    ],
)
def test_bad_input_is_named(rng, call, error, message):
    with pytest.raises(error, match=message):
        call(clip_of(rng, 2), rng)
