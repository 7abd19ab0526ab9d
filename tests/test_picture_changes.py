"""The random changes of training pictures: nothing asked changes nothing, and each change does what its name says."""

from __future__ import annotations

import torch

from medbench.families._vision_pictures import changing
from medbench.families.vision import VisionOptions

SIDE = 48
STILL = {"size": SIDE, "rotation": 0.0, "zoom": 0.0, "stretch": 0.0, "flips": False, "colour": 0.0}


def pictures(n: int = 16) -> torch.Tensor:
    """Dark pictures with one bright square off the middle."""
    made = torch.full((n, 3, SIDE, SIDE), 40, dtype=torch.uint8)
    made[:, :, 8:16, 20:28] = 220
    return made


def changed(seed: int = 0, **asked: float | bool) -> torch.Tensor:
    torch.manual_seed(seed)
    return changing(VisionOptions(**{**STILL, **asked}))(pictures())


def middles(found: torch.Tensor) -> torch.Tensor:
    """Where the bright square's middle is: (n, 2) rows and columns."""
    bright = (found.mean(1) > 0.6).float()
    places = torch.stack(torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")).float()
    return (bright[:, None] * places).sum((2, 3)) / bright.sum((1, 2))[:, None]


def test_without_changes_a_picture_stays_as_it_is():
    assert torch.allclose(changed(), pictures().float() / 255, atol=1e-5)


def test_a_turn_keeps_the_distance_from_the_middle():
    found = middles(changed(rotation=180.0)) - (SIDE - 1) / 2
    assert torch.allclose(
        found.norm(dim=1), torch.tensor(12.0), atol=1.5
    )  # a corner may bring in a part of its mirror image
    assert found.std(0).min() > 3  # every picture by an angle of its own


def test_mirrors_put_the_square_in_its_four_places():
    places = {tuple(place) for place in middles(changed(flips=True)).tolist()}
    assert places == {(11.5, 23.5), (35.5, 23.5)}  # its columns are the middle ones


def test_zoom_makes_the_square_larger_and_never_smaller():
    sizes = (changed(zoom=0.2).mean(1) > 0.6).sum((1, 2))  # of 64 pixels
    assert sizes.min() >= 56
    assert sizes.max() > 80


def test_colours_change_within_their_strength_and_stay_colours():
    found = changed(colour=0.2)
    assert found.min() >= 0
    assert found.max() <= 1
    dark = found[:, :, 40:, 40:].mean((1, 2, 3)) * 255
    assert dark.std() > 1
    assert ((dark > 20) & (dark < 75)).all()


def test_the_same_seed_gives_the_same_pictures():
    every = {"rotation": 90.0, "zoom": 0.3, "stretch": 0.2, "flips": True, "colour": 0.1}
    assert torch.equal(changed(3, **every), changed(3, **every))
    assert not torch.equal(changed(3, **every), changed(4, **every))
