"""Bad pictures and bad zips at the three doors of the lesion job: one sentence each, and nothing stays behind."""

from __future__ import annotations

import io
import shutil
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from drawn_pictures import encoded, table
from PIL import Image
from starlette.testclient import TestClient
from tiny_lesions import lesion
from typer.testing import CliRunner

from medbench import api, lesion_uploads, predicting
from medbench.cli import app
from medbench.errors import MedbenchError
from medbench.lesion_reading import read_pictures
from medbench.workspace import Workspace

GOOD = lesion("mel", 3, (300, 225))


def declared(width: int, height: int) -> bytes:
    """A PNG that says how large it is and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def packed(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return out.getvalue()


PHOTO = encoded(GOOD, "JPEG", quality=90)
REFUSED = {
    "truncated.jpg": (PHOTO[: len(PHOTO) // 2], "which is damaged"),
    "one.png": (encoded(Image.new("RGB", (1, 1)), "PNG"), "1 × 1 in 'one.png'"),
    "huge.png": (declared(20_000, 20_000), "400 megapixels in 'huge.png'"),
    "photo.heic": (b"\0\0\0\x18ftypheic" + bytes(500), "a HEIC picture, 'photo.heic'"),
    "words.jpg": (b"only words\n" * 9, "a text file 'words.jpg'"),
    "zero.jpg": (b"", "an empty file 'zero.jpg'"),
}
ANSWERED = {
    "cmyk.jpg": encoded(GOOD.convert("CMYK"), "JPEG"),
    "sixteen.png": encoded(Image.fromarray(np.asarray(GOOD.convert("L")).astype(np.uint16) * 257), "PNG"),
    "moving.gif": encoded(GOOD, "GIF", save_all=True, append_images=[GOOD.rotate(9)] * 2),
    "alone.zip": packed({"a.jpg": PHOTO}),
    "other-table.zip": packed({"a.jpg": PHOTO, "m.csv": table([{"image": "nobody.jpg", "age": 3}])}),
    "strange-labels.zip": packed({"a.jpg": PHOTO, "m.csv": table([{"image": "a", "dx": "zebra"}])}),
}
HOSTILE = {
    "table.csv": (table([{"image": "a", "age": 3}]), "none in 'table.csv'"),
    "table.zip": (packed({"m.csv": table([{"image": "a", "age": 3}])}), "none in 'table.zip'"),
    "outside.zip": (packed({"../../evil.jpg": PHOTO}), "a zip whose files stay inside it"),
    "bomb.zip": (packed({f"{at}.jpg": bytes(9_000_000) for at in range(4)}), "a zip that unpacks to at most"),
}


@pytest.fixture
def place(trained_lesions: tuple[Workspace, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    shutil.copytree(trained_lesions[0].models, tmp_path / "home" / "models")
    monkeypatch.setenv("MEDBENCH_HOME", str(tmp_path / "home"))
    return Workspace.here(tmp_path / "home")


@pytest.fixture
def model(trained_lesions: tuple[Workspace, str]) -> str:
    return trained_lesions[1]


def on_the_page(place: Workspace, model: str, name: str, content: bytes) -> list[str]:
    """What the page says of what was dropped: a problem each, "" for an answer."""
    received = lesion_uploads.receive_pictures(place, [(name, io.BytesIO(content))])
    try:
        readings = read_pictures(predicting.load(place, model), received.pictures)
        return [reading.prediction.problem or "" for reading in readings]
    finally:
        received.forget()


def by_command(model: str, folder: Path, name: str, content: bytes) -> tuple[int, str]:
    (folder / name).write_bytes(content)
    given = CliRunner().invoke(app, ["predict", model, str(folder / name), "--out", str(folder / "out.csv")])
    assert given.exception is None or isinstance(given.exception, SystemExit)
    assert "Traceback" not in given.output
    return given.exit_code, given.output


def over_http(place: Workspace, model: str, name: str, content: bytes) -> tuple[int, str]:
    answer = TestClient(api.mounted(place)).post(
        "/api/lesion/predict", files=[("files", (name, content))], data={"model": model}
    )
    return answer.status_code, answer.text


def nothing_left(place: Workspace, folder: Path) -> None:
    assert not [path for path in place.data.rglob("*") if path.is_file() and "history" not in path.parts]
    assert not list(folder.glob("*.partial"))


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_picture_is_one_sentence(place: Workspace, model: str, tmp_path: Path, name: str) -> None:
    content, words = REFUSED[name]
    [problem] = on_the_page(place, model, name, content)
    assert words in problem
    code, output = by_command(model, tmp_path, name, content)
    assert code == 0 and words in output and "0 pictures answered, 1 refused" in output
    status, told = over_http(place, model, name, content)
    assert status == 422 and words in told and "Expected" not in told
    nothing_left(place, tmp_path)


@pytest.mark.parametrize("name", ANSWERED)
def test_an_odd_picture_is_answered(place: Workspace, model: str, tmp_path: Path, name: str) -> None:
    assert on_the_page(place, model, name, ANSWERED[name]) == [""]
    code, output = by_command(model, tmp_path, name, ANSWERED[name])
    assert code == 0 and "1 pictures answered, 0 refused" in output
    assert over_http(place, model, name, ANSWERED[name])[0] == 200
    nothing_left(place, tmp_path)


@pytest.mark.parametrize("name", HOSTILE)
def test_what_holds_no_picture_is_one_sentence(place: Workspace, model: str, tmp_path: Path, name: str) -> None:
    content, words = HOSTILE[name]
    with pytest.raises(MedbenchError, match=words):
        on_the_page(place, model, name, content)
    code, output = by_command(model, tmp_path, name, content)
    assert code == 2 and words in output
    status, told = over_http(place, model, name, content)
    assert status == (413 if name == "bomb.zip" else 400) and words in told
    nothing_left(place, tmp_path)


def test_ten_thousand_empty_files_are_counted(place: Workspace, model: str, tmp_path: Path) -> None:
    content = packed({f"{at}.jpg": b"" for at in range(10_000)})
    with pytest.raises(MedbenchError, match="at most 2,000 pictures at once"):
        on_the_page(place, model, "many.zip", content)
    fewer = packed({f"{at}.jpg": b"" for at in range(1_000)})
    code, output = by_command(model, tmp_path, "many.zip", fewer)
    assert code == 0 and "0 pictures answered, 1,000 refused" in output
    assert output.count("an empty file") == 20 and "and more" in output


def test_labels_that_the_model_does_not_know_cannot_be_judged(place: Workspace, model: str, tmp_path: Path) -> None:
    path = tmp_path / "strange.zip"
    path.write_bytes(ANSWERED["strange-labels.zip"])
    given = CliRunner().invoke(app, ["evaluate", model, str(path)])
    assert given.exit_code == 2 and "1 labels it does not know (zebra)" in given.output


def test_explain_writes_a_picture_or_a_report(place: Workspace, model: str, tmp_path: Path) -> None:
    (tmp_path / "mole.jpg").write_bytes(PHOTO)
    given = CliRunner().invoke(app, ["explain", model, str(tmp_path / "mole.jpg"), "--out", str(tmp_path / "o.png")])
    assert given.exit_code == 0, given.output
    assert "Melanoma" in given.output and "With random weights the map" in given.output
    assert Image.open(tmp_path / "o.png").width > 1280
    out = tmp_path / "o.pdf"
    given = CliRunner().invoke(
        app, ["explain", model, str(tmp_path / "mole.jpg"), "--out", str(out), "--label", "nv", "--method", "layer-cam"]
    )
    assert given.exit_code == 0 and out.read_bytes().startswith(b"%PDF")
    for wrong, words in ((["--out", "o.txt"], "ends in .png or .pdf"), (["--label", "zebra"], "found 'zebra'")):
        given = CliRunner().invoke(app, ["explain", model, str(tmp_path / "mole.jpg"), *wrong])
        assert given.exit_code == 2 and words in given.output
