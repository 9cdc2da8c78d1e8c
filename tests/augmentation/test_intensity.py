"""The tables do what kornia's operations do."""

import cv2
import kornia.augmentation as kornia_augmentation
import numpy as np
import pytest
import torch
from kornia import enhance, filters
from kornia.augmentation.container.params import ParamItem
from scipy import stats

from trackertraincode.augmentation.extras import EXTRAS, apply_extras, plugin_brightness
from trackertraincode.augmentation.intensity import (
    CODES,
    NOISE_STDS,
    NOTHING,
    OPERATIONS,
    Changes,
    apply_tables,
    augment_image,
    change_images,
    draw_changes,
)
from trackertraincode.augmentation.intensity_kornia import KorniaIntensity, apply_operations, draw_operations
from trackertraincode.augmentation.units import normalize_grey
from trackertraincode.tracking.opentrack_client import normalize_brightness


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    rng = np.random.default_rng(0)
    noise = rng.normal(110, 40, (64, 64)).clip(0, 255).astype(np.uint8)
    return cv2.GaussianBlur(noise, (7, 7), 2.0)


def apply_steps(image: np.ndarray, steps: list[tuple[str, float]], noise_std: float = 0.0) -> np.ndarray:
    """(H, W) uint8 -> float32 in [0, 1]."""
    codes, parameters = np.full((1, 4), NOTHING), np.zeros((1, 4), np.float32)
    for place, (name, parameter) in enumerate(steps):
        codes[0, place], parameters[0, place] = CODES[name], parameter
    changes = Changes(codes, parameters, np.array([noise_std], np.float32), np.array([7]))
    return change_images(image[None].copy(), changes)[0] / np.float32(255)


KORNIA = {
    "equalize": lambda x, _: enhance.equalize(x),
    "posterize": lambda x, bits: enhance.posterize(x, int(bits)),
    "gamma": lambda x, gamma: enhance.adjust_gamma(x, gamma),
    "contrast": lambda x, factor: enhance.adjust_contrast(x, factor),
    "brightness": lambda x, factor: enhance.adjust_brightness(x, factor - 1.0),
    "blur": lambda x, _: filters.gaussian_blur2d(x, (5, 5), (1.5, 1.5)),
}


@pytest.mark.parametrize(
    ("name", "parameter"),
    [("equalize", 0.0), ("posterize", 4.2), ("posterize", 6.9), ("gamma", 0.5), ("gamma", 1.9), ("contrast", 0.7),
     ("contrast", 1.5), ("brightness", 0.7), ("brightness", 1.4), ("blur", 0.0)],
)  # fmt: skip
def test_each_operation_equals_kornia(image: np.ndarray, name: str, parameter: float) -> None:
    mine = apply_steps(image, [(name, parameter)])
    theirs = KORNIA[name](torch.from_numpy(image)[None, None].float() / 255.0, parameter)[0, 0].numpy()
    levels = 255 * np.abs(mine - theirs)
    assert levels.max() <= (0.51 if name == "blur" else 0.01)  # the tables' blur rounds to whole grey levels


@pytest.mark.parametrize("seed", range(12))
def test_batches_equal_the_published_pipeline_of_kornia_with_the_same_numbers(image: np.ndarray, seed: int) -> None:
    """Its own augmentations, one after the other."""
    published = kornia_augmentation.ImageSequential(
        kornia_augmentation.RandomEqualize(p=0.2),
        kornia_augmentation.RandomPosterize(bits=(4.0, 6.0), p=0.01),
        kornia_augmentation.RandomGamma(gamma=(0.5, 2.0), p=0.2),
        kornia_augmentation.RandomContrast(contrast=(0.7, 1.5), p=0.2),
        kornia_augmentation.RandomBrightness(brightness=(0.7, 1.5), p=0.2),
        kornia_augmentation.RandomGaussianBlur((5, 5), (1.5, 1.5), p=0.1),
        random_apply=4,
    )
    own = dict(zip(OPERATIONS, dict(published.named_children())))
    torch.manual_seed(seed)
    images = torch.from_numpy(np.stack([image] * 8))[:, None].float() / 255.0
    names, numbers = draw_operations(len(images))
    numbers[0] = (torch.rand(numbers[0].shape) < 0.5).float()  # each often enough to be seen
    params = []
    for name, happens, value in zip(names, *numbers):
        data = {"batch_prob": happens, "forward_input_shape": torch.tensor(images.shape)}
        data |= {"gain_factor": torch.ones(8), "sigma": torch.full((8,), 1.5), "bits_factor": value.round().int()}
        data |= {f"{factor}_factor": value for factor in ("gamma", "contrast", "brightness")}
        params.append(ParamItem(own[name], data))
    difference = (apply_operations(images, names, numbers) - published(images, params=params)).abs()
    assert (difference < 1e-6).float().mean() > 0.99
    assert difference.max() < 17 / 255  # where a blur ends between two levels of posterize or equalize


def test_kornias_operations_are_drawn_as_the_published_pipeline_does() -> None:
    torch.manual_seed(0)
    counts: dict[str, float] = dict.fromkeys(OPERATIONS, 0.0)
    bits: list[float] = []
    for _ in range(2000):
        names, (happens, values) = draw_operations(15)
        assert len(set(names)) == 4
        for name, some, value in zip(names, happens, values):
            counts[name] += float(some.sum())
            low, high = (4.0, 6.0) if name == "posterize" else OPERATIONS[name][2:]
            assert ((value >= low) & (value <= high)).all()
            bits += value.round().tolist() if name == "posterize" else []
    for name, (_, probability, _, _) in OPERATIONS.items():
        assert counts[name] / 30_000 == pytest.approx(probability * 4 / 6, abs=0.01), name
    assert [bits.count(k) / len(bits) for k in (4, 5, 6)] == pytest.approx([0.25, 0.5, 0.25], abs=0.02)


@pytest.mark.parametrize("seed", range(30))
def test_sequences_equal_kornia(image: np.ndarray, seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = [n for n in rng.permutation(list(OPERATIONS))[:4] if n not in ("posterize", "equalize")]
    steps = [(n, float(rng.uniform(*OPERATIONS[n][2:]))) for n in names]
    theirs = torch.from_numpy(image)[None, None].float() / 255.0
    for name, parameter in steps:
        theirs = KORNIA[name](theirs, parameter)
    assert 255 * np.abs(apply_steps(image, steps) - theirs[0, 0].numpy()).max() < 4.0  # grey levels
    assert 255 * np.abs(apply_steps(image, steps) - theirs[0, 0].numpy()).mean() < 0.6


def test_operations_are_drawn_with_their_probabilities() -> None:
    draws = 30_000
    steps = draw_changes(draws, np.random.default_rng(0)).steps
    for name, (_, probability, _, _) in OPERATIONS.items():
        assert (steps == CODES[name]).sum() / draws == pytest.approx(probability * 4 / 6, abs=0.006), name


def test_noise_variance_is_the_sum_of_the_chosen_ones() -> None:
    variances = draw_changes(50_000, np.random.default_rng(0)).noise_std.astype(np.float64) ** 2
    expected = sum(0.25**k * std**2 for k, std in enumerate(NOISE_STDS, start=1))
    assert np.mean(variances) == pytest.approx(expected, rel=0.05)


def test_noise_is_normal_with_its_standard_deviation() -> None:
    grey = np.full((129, 129), 128, np.uint8)
    noise = 255 * apply_steps(grey, [], noise_std=16.0).astype(np.float64) - 128
    assert stats.kstest(noise.ravel() / 16.0, "norm").pvalue > 0.01


def test_noise_of_the_device_is_distributed_as_that_of_loaders() -> None:
    """Each has random numbers of its own; compared are moments, and the distributions."""
    images, stds = torch.full((3, 1, 129, 129), 128.0), torch.tensor([[0.0], [8.0], [16.0]])
    there = apply_tables(images, torch.cat([torch.arange(256.0).expand(3, -1), stds], dim=1))[:, 0].numpy() - 128
    assert not there[0].any()
    for noise, std in zip(there[1:].astype(np.float64), (8.0, 16.0)):
        loaded = 255 * apply_steps(np.full((129, 129), 128, np.uint8), [], noise_std=std).astype(np.float64) - 128
        moments = [stats.describe(values.ravel() / std) for values in (noise, loaded)]
        for found in moments:
            assert [found.mean, found.variance, found.skewness, found.kurtosis] == pytest.approx([0, 1, 0, 0], abs=0.12)
        assert stats.kstest(noise.ravel() / std, "norm").pvalue > 0.01
        assert stats.ks_2samp(noise.ravel(), loaded.ravel()).pvalue > 0.01
    assert abs(np.corrcoef(there[1:].reshape(2, -1))[0, 1]) < 0.05


def test_channels_have_noise_of_their_own() -> None:
    grey = np.full((1, 65, 65, 3), 128, np.uint8)
    none = np.full((1, 4), NOTHING)
    noise = change_images(grey, Changes(none, none.astype(np.float32), np.array([8.0]), np.array([1])))[0] - 128
    assert noise.std((0, 1)) == pytest.approx([8.0] * 3, rel=0.1)
    assert np.abs(np.corrcoef(noise.reshape(-1, 3).T) - np.eye(3)).max() < 0.1


def test_an_image_is_changed_alike_in_any_batch(image: np.ndarray) -> None:
    images, changes = np.stack([image, image // 2, image // 3] * 20), draw_changes(60, np.random.default_rng(3))
    whole = change_images(images.copy(), changes)
    parts = [change_images(images[k : k + 7].copy(), changes.select(slice(k, k + 7))) for k in range(0, 60, 7)]
    assert np.array_equal(whole, np.concatenate(parts))


def test_tables_and_kornia_change_images_alike(image: np.ndarray) -> None:
    torch.manual_seed(0)
    batch = torch.from_numpy(np.stack([image] * 2000))[:, None]
    theirs = torch.cat([KorniaIntensity()(part) for part in batch.split(4)]).numpy()[:, 0]
    rng = np.random.default_rng(0)
    mine = np.stack([augment_image(image, rng) for _ in range(2000)])
    for measure in (np.mean, np.std):
        a, b, still = measure(mine, axis=(1, 2)), measure(theirs, axis=(1, 2)), measure(image)
        assert a.mean() == pytest.approx(b.mean(), rel=0.1)  # three standard errors
        shares = [[(values < 0.99 * still).mean(), (values > 1.01 * still).mean()] for values in (a, b)]
        assert shares[0] == pytest.approx(shares[1], abs=0.06)


def test_the_same_seed_gives_the_same_image(image: np.ndarray) -> None:
    one, two = (augment_image(image, np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(one, two)


@pytest.mark.parametrize("name", EXTRAS)
@pytest.mark.parametrize("channels", [1, 3])
def test_extras_keep_the_form_and_change_something(image: np.ndarray, name: str, channels: int) -> None:
    image = image if channels == 1 else np.stack([image] * 3, -1)
    before = image.copy()
    changed = EXTRAS[name](image, np.random.default_rng(1))
    assert (changed.shape, changed.dtype) == (image.shape, np.uint8)
    assert np.array_equal(image, before)
    assert not np.array_equal(changed, before)


@pytest.mark.parametrize("name", ["blur", "motion_blur", "rescale"])
def test_extras_leave_faces_where_their_labels_are(name: str) -> None:
    spot = cv2.GaussianBlur(np.pad(np.full((9, 9), 255, np.uint8), 28), (0, 0), 2)
    places = np.arange(len(spot)) - 32
    rng = np.random.default_rng(0)
    for _ in range(40):
        changed = EXTRAS[name](spot, rng).astype(float)
        middle = [float(changed.sum(axis) @ places / changed.sum()) for axis in (0, 1)]
        assert middle == pytest.approx([0, 0], abs=0.06)


def test_extras_are_chosen_by_name(image: np.ndarray) -> None:
    assert np.array_equal(apply_extras(image, (), np.random.default_rng(0)), image)


@pytest.mark.parametrize("gain", [0.05, 0.4, 1.0])
def test_plugin_brightness_is_what_the_plugin_does(image: np.ndarray, gain: float) -> None:
    dimmed = (image * gain).astype(np.uint8)
    mine = plugin_brightness(torch.from_numpy(dimmed)[None, None])[0, 0].numpy()
    assert np.allclose(mine, normalize_brightness(dimmed), atol=1e-6)


def test_grey_is_pixel_over_256_minus_half() -> None:
    assert normalize_grey(torch.tensor([0, 128, 255], dtype=torch.uint8)).tolist() == [-0.5, 0.0, 255 / 256 - 0.5]
