"""The page that holds a model, in a real Chromium: its answers, looks, keys and images, and hostile names."""

from __future__ import annotations

import base64
import functools
import json
import struct
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from hpcdl.trainer.export.errors import NotExported
from hpcdl.trainer.export.lite_names import OPERATION_NAMES

pytestmark = [
    pytest.mark.tensorflow,
    pytest.mark.filterwarnings("ignore:(?s).*tf.lite.Interpreter is deprecated:UserWarning"),
]
GREY, COLOUR = (28, 28, 1), (12, 9, 3)
EVIL = "</script><script>document.title='owned'</script>"
HOSTILE = [
    EVIL,
    "<img src=x onerror=document.title='owned'>",
    "\"'`\\",
    "\u202eabc",
    "名 🎉",
    "",
    "\u2028",
    "x" * 300,
    "<!--",
]
# The elements that stick out of the window to the right
STICKING_OUT = """[...document.querySelectorAll('main *')].filter(element =>
    element.getBoundingClientRect().right > innerWidth + 0.5 && !element.closest('.unseen')
).map(element => element.outerHTML.slice(0, 120))"""
# WCAG's contrast of texts against the paper: https://www.w3.org/TR/WCAG21/#dfn-contrast-ratio
CONTRAST = """[...document.querySelectorAll('h1, h2, p, li, span, bdi, summary, label, button, .wrong')].map(element => {
    const light = colour => {
        const [r, g, b] = colour.match(/[0-9.]+/g).map(x => x / 255).map(
            x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const under = element.closest('button') || document.body;
    const ink = light(getComputedStyle(element).color), paper = light(getComputedStyle(under).backgroundColor);
    return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
})"""


def tflite(tf, model, shape):
    spec = tf.TensorSpec([1, *shape], tf.float32, "images")
    function = tf.function(lambda images: model(images, training=False), input_signature=[spec])
    held = tf.Module()
    held.variables_of_model = [getattr(variable, "value", variable) for variable in model.variables]
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [function.get_concrete_function()], held
    )
    return converter.convert()


def layers_of(tf, shape, classes, last="softmax"):
    """A net with most kinds of layers."""
    layers = tf.keras.layers
    inputs = tf.keras.Input(shape)
    x = layers.Conv2D(8, 5, padding="same", activation="relu")(inputs)
    x = layers.MaxPooling2D(2)(x)
    y = layers.DepthwiseConv2D(3, padding="same", activation="relu6")(x)
    x = layers.Add()([x, layers.Conv2D(8, 1, activation="swish")(y)])
    x = layers.Conv2D(16, 3, strides=2, activation="gelu")(layers.ZeroPadding2D(1)(x))
    x = layers.Concatenate()([layers.AveragePooling2D(2)(x), layers.MaxPooling2D(2)(x)])
    x = layers.Dense(12, activation="selu")(layers.Flatten()(x))
    return tf.keras.Model(inputs, layers.Dense(classes, activation=last)(x))


@pytest.fixture(scope="module")
def write(tf, tmp_path_factory):
    """Writes the page of an untrained model, as a run exports it."""
    from hpcdl.trainer.export.measure import TestImages
    from hpcdl.trainer.export.page_kind import make_page

    def write(shape, names, last="softmax"):
        folder = tmp_path_factory.mktemp("page")
        tf.keras.utils.set_random_seed(5)
        model = layers_of(tf, shape, len(names), last)
        images = np.zeros((12, *shape), np.float32)
        images[:, 4:-5, 3:-4] = (
            np.random.default_rng(1).integers(0, 256, (12, 1, 1, shape[2])) / 255
        )
        if shape == GREY:  # in the middle, as MNIST's
            images[:] = 0
            images[:, 7:22, 11:18] = np.linspace(0.4, 1, 12)[:, None, None, None]
        about = {
            "name": f"{names[0]} net",
            "shape": shape,
            "class_names": names,
            "test": {"rows": 12, "accuracy": 0.5},
        }
        about.update(runs=["k3f9"], hpcdl="0.4.0", resize={"rounded": True})
        (folder / "model.json").write_text(json.dumps(about))
        trained = model(images, training=False).numpy()
        labels = trained.argmax(axis=1)
        labels[:2] = 1
        test = TestImages(images, labels, trained)
        path = folder / "model.html"
        known = np.rint(images * 255).astype(np.uint8)
        make_page(tflite(tf, model, shape), str(folder / "model.json"), test, known, str(path))
        return path

    return write


@pytest.fixture(scope="module")
def grey(write):
    return write(GREY, [str(number) for number in range(10)])


@pytest.fixture(scope="module")
def hostile(write):
    return write(
        COLOUR, [*HOSTILE, *(f"class name {number}" for number in range(1000 - len(HOSTILE)))]
    )


def wait(browser, condition):
    until = time.monotonic() + 60
    while not browser.value(f"Boolean({condition})"):
        assert time.monotonic() < until, (
            condition,
            browser.complaints(),
            browser.value("document.body.innerText"),
        )
        time.sleep(0.05)


@pytest.fixture
def opened(browser):
    """Opens a page and waits until it has answered and looked."""

    def open_page(path, width=1280, scheme="light"):
        browser.open(path, width, scheme)
        wait(browser, "document.body.dataset.heat === 'done'")
        return browser

    return open_page


@pytest.mark.parametrize("name", ["grey", "hostile"])
def test_page_answers_as_model(request, opened, name):
    page = opened(request.getfixturevalue(name))

    assert float(page.value("document.body.dataset.worst")) < 0.001
    assert float(page.value("document.body.dataset.arithmetic")) < 1e-5
    assert page.complaints() == []
    assert page.value("document.getElementById('trouble').hidden")
    assert "Checked just now on" in page.value("document.getElementById('check').textContent")


def test_page_asks_no_server(opened, grey):
    page = opened(grey)
    page.value("fetch('https://example.org/').catch(error => { window.refused = String(error) })")
    wait(page, "window.refused")

    assert page.requests() == [] or all(url.startswith("blob:") for url in page.requests())
    assert "http" not in grey.read_text("utf-16").replace("http-equiv", "")


def test_page_works_from_any_server(browser, grey):
    """Also from one that says it is UTF-8: the byte order mark wins."""

    class Handler(SimpleHTTPRequestHandler):
        def guess_type(self, path):
            return "text/html; charset=utf-8"

        def log_message(self, *words):
            pass

    make = functools.partial(Handler, directory=str(grey.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), make) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser.events.clear()
        address = f"http://127.0.0.1:{server.server_address[1]}/{grey.name}"
        browser.ask("Page.navigate", url=address)
        wait(browser, "document.body && document.body.dataset.heat === 'done'")
        server.shutdown()

    assert browser.value("document.characterSet") == "UTF-16LE"
    assert float(browser.value("document.body.dataset.worst")) < 0.001
    assert browser.complaints() == []


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["grey", "hostile"])
def test_page_fits_each_width(request, opened, name, width):
    page = opened(request.getfixturevalue(name), width)
    page.value("document.getElementById('every').open = true")

    assert page.value("document.documentElement.scrollWidth") == width
    assert page.value(STICKING_OUT) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_reader(opened, grey, scheme):
    page = opened(grey, 1280, scheme)

    paper = page.value("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    assert min(page.value(CONTRAST)) >= 4.5  # WCAG's level AA


def press(page, key, times=1):
    for _ in range(times):
        for kind in ("keyDown", "keyUp"):
            codes = {"Tab": 9, "Enter": 13, " ": 32, "ArrowRight": 39, "ArrowDown": 40}
            text = (
                {"text": {"Enter": "\r"}.get(key, key)}
                if key in ("Enter", " ") and kind == "keyDown"
                else {}
            )
            page.ask(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=codes[key],
                **text,
            )


def focused(page):
    focus = "document.activeElement"
    return page.value(f"{focus}.id || {focus}.getAttribute('aria-label') || {focus}.tagName")


def test_keyboard_alone_is_enough(opened, grey):
    page = opened(grey)
    order = []
    for _ in range(30):
        press(page, "Tab")
        order.append(focused(page))
        assert page.value("getComputedStyle(document.activeElement).outlineStyle") == "solid", (
            order[-1]
        )
        if order[-1].startswith("Test image 3"):
            break
    assert order[:4] == ["board", "clear", "undo", "choose"]

    press(page, "Enter")
    wait(page, "document.activeElement.getAttribute('aria-pressed') === 'true'")
    page.value("document.getElementById('clear').focus()")
    press(page, "Enter")
    page.value("document.getElementById('board').focus()")
    press(page, " ")
    press(page, "ArrowDown", 6)
    press(page, " ")
    wait(page, "document.getElementById('live').textContent.startsWith('The answer: ')")
    assert page.value("board.pixels(false).filter(level => level > 128).length") >= 6


def test_drawing_is_centred_as_mnist(opened, grey):
    """A short line in the corner, drawn with the mouse, becomes 20 pixels high, in the middle."""
    page = opened(grey)
    page.value("board.show(null)")
    box = page.value("JSON.parse(JSON.stringify(board.canvas.getBoundingClientRect()))")
    x, y, scale = box["x"] + 0.2 * box["width"], box["y"] + 0.1 * box["height"], box["height"] / 28
    for kind, down in (
        ("mousePressed", 0),
        ("mouseMoved", 3),
        ("mouseMoved", 6),
        ("mouseReleased", 6),
    ):
        page.ask(
            "Input.dispatchMouseEvent",
            type=kind,
            x=x,
            y=y + down * scale,
            button="left",
            clickCount=1,
        )

    pixels = np.array(page.value("[...board.pixels(true)]")).reshape(28, 28)
    rows = np.flatnonzero(pixels.max(axis=1) > 40)
    assert 18 <= np.ptp(rows) + 1 <= 21
    middle = (pixels.sum(axis=1) * np.arange(28)).sum() / pixels.sum()
    assert abs(middle - 14) <= 0.6
    wait(page, "document.body.dataset.heat === 'done'")
    assert not page.value("document.getElementById('centring').hidden")


def test_hostile_names_run_nothing(opened, hostile):
    page = opened(hostile)
    page.value("document.getElementById('every').open = true")
    wait(page, "document.querySelectorAll('#every li').length === 1000")

    assert page.value("document.title") == f"{EVIL} net"
    assert page.value("document.scripts.length") == 4
    names = page.value("[...document.querySelectorAll('#every bdi')].map(name => name.textContent)")
    assert names[: len(HOSTILE)] == [name or "class 5" for name in HOSTILE]
    assert page.complaints() == []


def with_orientation(jpeg, orientation):
    entry = struct.pack(">HHIHH", 0x112, 3, 1, orientation, 0)
    exif = b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">H", 1) + entry + bytes(4)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


def test_images_are_read_as_in_training(tf, opened, hostile):
    """Resized with TensorFlow's very pixels; turned upright; what is no image is refused."""
    page = opened(hostile)
    photo = np.random.default_rng(2).integers(0, 256, (53, 37, 3)).astype(np.uint8)
    png, jpeg = tf.io.encode_png(photo).numpy(), tf.io.encode_jpeg(photo).numpy()
    files = {"photo.png": png, "turned.jpg": with_orientation(jpeg, 6), "notes.txt": b"hello"}
    notes = {}
    for name, content in files.items():
        code = base64.b64encode(content).decode()
        page.value(
            f"window.read = null; openFile(new File([Uint8Array.from(atob('{code}'), c => c.charCodeAt(0))], '{name}')).then(() => {{ window.read = true }}); 0"
        )
        wait(page, "window.read")
        notes[name] = page.value(
            "document.getElementById('notes').innerText + document.getElementById('trouble').innerText"
        )
        if name == "photo.png":
            shown = np.array(page.value("[...board.image]")).reshape(COLOUR)
    expected = tf.round(tf.image.resize(photo, COLOUR[:2], antialias=True)).numpy()
    assert np.abs(shown - expected).max() <= 1
    assert (shown != expected).mean() < 0.01
    assert "from 37 × 53 to 9 × 12 pixels" in notes["photo.png"]
    assert "EXIF orientation" in notes["turned.jpg"]
    assert "from 53 × 37" in notes["turned.jpg"]
    assert "Cannot read notes.txt: expected an image" in notes["notes.txt"]


def test_unknown_gradient_is_said(tf, capsys):
    from hpcdl.trainer.export.page_errors import errors_of_weights

    content = tflite(tf, layers_of(tf, GREY, 3), GREY)

    assert errors_of_weights(content, np.zeros((2, *GREY), np.float32)) is None
    assert "the gradients of GELU are not known here" in capsys.readouterr().out


def test_errors_of_weights_come_true(tf):
    """What a small change of a row's weights does to the answers is what its errors say."""
    from hpcdl.trainer.export.lite_gradient import LiteGraph
    from hpcdl.trainer.export.page_errors import errors_of_weights

    tf.keras.utils.set_random_seed(4)
    layers = tf.keras.layers
    inputs = tf.keras.Input((6, 6, 3))
    x = layers.Conv2D(7, 3, padding="same", activation="tanh")(inputs)
    x = layers.Conv2D(5, 1)(layers.DepthwiseConv2D(3, strides=2, activation="tanh")(x))
    model = tf.keras.Model(inputs, layers.Dense(4)(layers.GlobalAveragePooling2D()(x)))
    images = np.random.default_rng(0).random((200, 6, 6, 3), np.float32)
    content = tflite(tf, model, (6, 6, 3))
    graph = LiteGraph(content)
    answers = graph(images, [])
    errors = errors_of_weights(content, images) or {}

    assert np.abs(answers - model(images)).max() < 1e-5
    kernel = model.layers[1].kernel
    before, squares = kernel.numpy(), []
    random = np.random.default_rng(1)
    for row in range(7):
        square = 0
        for _ in range(8):
            changes = np.zeros_like(before)
            changes[..., row] = random.choice([-1e-3, 1e-3], before.shape[:3])
            kernel.assign(before + changes)
            change = (model(images) - answers).numpy()
            square += (change - change.mean(axis=1, keepdims=True)).var()
        squares.append(square)
    (first,) = [each for each in errors.values() if each.columns.shape == (27, 27)]
    ratios = np.log2(squares / first.rows)
    assert len(errors) == 4
    assert np.log2(first.rows).std() > 3 * ratios.std(), (first.rows, ratios)


def test_fingers_draw(opened, grey):
    """The page does not scroll below a finger, and a second one draws nothing."""
    page = opened(grey, 390)
    page.value("board.show(null)")
    page.value("document.getElementById('board').scrollIntoView({block: 'center'})")
    before = page.value("scrollY")
    box = page.value("JSON.parse(JSON.stringify(board.canvas.getBoundingClientRect()))")
    x, y, scale = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, box["height"] / 28
    first = [{"x": x, "y": y - down * scale, "id": 0} for down in (0, 3, 6)]
    second = {"x": x - 9 * scale, "y": y, "id": 1}
    for kind, points in (
        ("touchStart", first[:1]),
        ("touchStart", [first[0], second]),
        ("touchMove", [first[1], second]),
        ("touchMove", [first[2], second]),
        ("touchEnd", []),
    ):
        page.ask("Input.dispatchTouchEvent", type=kind, touchPoints=points)

    wait(page, "document.getElementById('live').textContent.startsWith('The answer: ')")
    assert page.value("board.lines.length") == 1
    line = page.value("board.lines[0].points")
    assert line[0] == pytest.approx([14, 14], abs=0.2)
    assert line[-1] == pytest.approx([14, 8], abs=0.2)
    assert page.value("scrollY") == before


def test_images_are_dropped_and_pasted(tf, opened, grey, tmp_path):
    page = opened(grey)
    for name, level in (("dropped.png", 40), ("pasted.png", 200)):
        (tmp_path / name).write_bytes(
            tf.io.encode_png(np.full((56, 56, 1), level, np.uint8)).numpy()
        )
    for kind in ("dragEnter", "dragOver", "drop"):
        data = {"items": [], "files": [str(tmp_path / "dropped.png")], "dragOperationsMask": 1}
        page.ask("Input.dispatchDragEvent", type=kind, x=5, y=5, data=data)
    wait(page, "board.image && board.image.every(level => level === 40)")

    code = base64.b64encode((tmp_path / "pasted.png").read_bytes()).decode()
    page.value(f"""(() => {{
        const clipboardData = new DataTransfer(), bytes = Uint8Array.from(atob('{code}'), c => c.charCodeAt(0));
        clipboardData.items.add(new File([bytes], 'image.png', {{type: 'image/png'}}));
        document.dispatchEvent(new ClipboardEvent('paste', {{clipboardData}}));
    }})()""")
    wait(page, "board.image.every(level => level === 200)")

    text = {"items": [{"mimeType": "text/plain", "data": "a"}], "files": []}
    page.ask(
        "Input.dispatchDragEvent",
        type="dragEnter",
        x=5,
        y=5,
        data={**text, "dragOperationsMask": 1},
    )
    page.ask(
        "Input.dispatchDragEvent", type="dragOver", x=5, y=5, data={**text, "dragOperationsMask": 1}
    )
    page.ask(
        "Input.dispatchDragEvent", type="drop", x=5, y=5, data={**text, "dragOperationsMask": 1}
    )
    wait(page, "document.getElementById('trouble').textContent.startsWith('What was dropped')")
    assert page.complaints() == []


def test_missing_operation_is_named(write, tmp_path):
    with pytest.raises(NotExported, match="does not have the operation LOG_SOFTMAX"):
        write(GREY, ["a", "b"], last="log_softmax")


def test_operations_have_their_numbers():
    from hpcdl.trainer.export.page_text import operations

    assert len(operations()) >= 50
    assert all(OPERATION_NAMES[number] == name for number, name in operations().items())
