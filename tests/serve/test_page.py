"""The web page in a real browser: a photograph in; answers, overlay and speeds out; nothing from elsewhere.

MOBILEVIT_FAST_SCREENSHOTS names a folder that keeps the pictures.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import browser
import pytest
from PIL import Image
from running_server import serving

from mobilevit_fast import Session
from mobilevit_fast.serve.app import PAGE

pytestmark = pytest.mark.skipif(browser.PROGRAM is None, reason="there is no Chromium on this machine")

CAT = Path(__file__).resolve().parent.parent / "data" / "cat.jpg"
MODEL = "mobilevit_xxs.cifar10"
BARS = "[...document.querySelectorAll('#bars li')].map(row => row.innerText)"
ANSWERS = "[...document.querySelectorAll('#variants tbody tr')].map(row => row.cells[1].innerText)"


@pytest.fixture(scope="module")
def server():
    sessions = {MODEL: lambda: Session(MODEL), "again": lambda: Session(MODEL)}
    with serving(sessions) as running:
        yield running


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with browser.browsing(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def page(server, tab):
    tab.imitate(width=1280, height=900)
    tab.open(f"http://127.0.0.1:{server.port}/")
    tab.wait_for("document.querySelectorAll('#variants tbody tr').length === 2")
    yield tab
    assert not tab.errors
    own = (f"http://127.0.0.1:{server.port}/", f"blob:http://127.0.0.1:{server.port}/", "about:", "data:")
    assert all(address.startswith(own) for address in tab.requested), tab.requested


@pytest.fixture
def keep(page, tmp_path):
    folder = Path(os.environ.get("MOBILEVIT_FAST_SCREENSHOTS", tmp_path))
    folder.mkdir(exist_ok=True)

    def screenshot(name):
        page.screenshot(folder / f"{name}.png")
        with Image.open(folder / f"{name}.png") as picture:
            assert len(picture.convert("RGB").getcolors(1 << 24)) > 50
            return picture.size

    return screenshot


def answered(page):
    page.wait_for(f"{BARS}.length === 5")
    page.wait_for(f"{ANSWERS}.every(text => text)")


def test_a_photograph_is_labelled_explained_and_compared(page, keep):
    page.choose_file("#file", CAT)
    answered(page)
    assert page.evaluate(f"{BARS}[0]").startswith("cat")
    assert all(text.startswith("cat") for text in page.evaluate(ANSWERS))
    assert re.match(r"[\d.]+ ms: decoding", page.evaluate("document.getElementById('timing').innerText"))
    page.press("w")
    page.wait_for("document.getElementById('look-note').innerText.startsWith('Bright')")
    painted = (
        "document.getElementById('overlay').getContext('2d').getImageData(0, 0, 300, 300).data.some(v => v)"
    )
    assert page.evaluate(painted)
    page.wait_for("document.querySelectorAll('#live dd').length === 6")
    keep("light")
    page.imitate(width=1280, height=900, dark=True)
    keep("dark")
    page.press("w")
    page.wait_for("document.getElementById('look-note').innerText === ''")
    assert not page.evaluate(painted)


def test_a_phone_shows_everything_without_scrolling_sideways(page, keep):
    page.imitate(width=360, height=740, phone=True)
    page.choose_file("#file", CAT)
    answered(page)
    assert page.evaluate("document.documentElement.scrollWidth <= 360")
    small = (
        "[...document.querySelectorAll('button')].filter(b => b.offsetParent && b.offsetHeight < 40).length"
    )
    assert page.evaluate(small) == 0
    keep("phone")


def test_the_keyboard_reaches_everything(page):
    page.choose_file("#file", CAT)
    answered(page)
    page.press("2")
    page.wait_for("document.querySelector('#variants input:checked').value === 'again'")
    answered(page)
    count = "event => { event.preventDefault(); window.opened += 1; }"
    page.evaluate(f"window.opened = 0; document.getElementById('file').addEventListener('click', {count})")
    page.press("o")
    page.evaluate("document.getElementById('drop').focus()")
    page.press("Enter")
    page.wait_for("window.opened === 2")


def test_the_camera_is_answered_live_and_its_last_frame_kept(page):
    page.evaluate("document.body.focus()")
    page.press("c")
    page.wait_for(f"{BARS}.length === 5")
    assert page.evaluate("!document.getElementById('video').hidden")
    page.press("c")
    answered(page)
    assert page.evaluate(
        "document.getElementById('video').hidden && !document.getElementById('photo').hidden"
    )
    page.press("c")
    page.wait_for("document.getElementById('camera').getAttribute('aria-pressed') === 'true'")
    page.press("Escape")
    page.wait_for("document.getElementById('camera').getAttribute('aria-pressed') === 'false'")


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_photographs_are_dropped_and_pasted(page, kind):
    event, field = ("ClipboardEvent", "clipboardData") if kind == "paste" else ("DragEvent", "dataTransfer")
    script = """
        const canvas = document.createElement('canvas');
        canvas.width = canvas.height = 64;
        canvas.getContext('2d').fillRect(0, 0, 40, 40);
        const transfer = new DataTransfer();
        const blob = await new Promise(resolve => canvas.toBlob(resolve));
        transfer.items.add(new File([blob], 'a.png', {type: 'image/png'}));
    """
    sent = f"document.dispatchEvent(new {event}('{kind}', {{{field}: transfer, bubbles: true}}));"
    page.evaluate(f"(async () => {{ {script} {sent} }})()")
    answered(page)


def test_what_is_no_photograph_is_told(page, tmp_path):
    (tmp_path / "notes.txt").write_text("not a photograph")
    page.choose_file("#file", tmp_path / "notes.txt")
    page.wait_for("document.getElementById('message').innerText.includes('not an image')")
    assert page.evaluate(f"{BARS}.length") == 0
    page.errors.clear()


def test_a_token_is_asked_for_and_kept(tab):
    with serving({MODEL: lambda: Session(MODEL)}, token="secret") as running:
        tab.open(f"http://127.0.0.1:{running.port}/")
        tab.wait_for("!document.getElementById('token-form').hidden")
        tab.evaluate("document.getElementById('token').value = 'secret'")
        tab.evaluate("document.querySelector('#token-form button').click()")
        tab.wait_for("document.querySelectorAll('#variants tbody tr').length === 1")
        assert tab.evaluate("document.getElementById('token-form').hidden")
        tab.open("about:blank")


def test_the_reference_lists_every_address(server, tab):
    tab.open(f"http://127.0.0.1:{server.port}/docs")
    tab.wait_for("document.querySelectorAll('section').length > 8")
    text = tab.evaluate("document.body.innerText")
    assert "/classify" in text
    assert "/v2/models/{name}/infer" in text
    assert not tab.errors


def test_the_files_name_no_other_place():
    for path in PAGE.iterdir():
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "//" not in re.sub(r"^\s*// .*$", "", text, flags=re.MULTILINE), path
