"""The Layers page in a real Chromium: bars are dragged, curves drawn, steps undone, and the picture answers without a
script rerun.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.waits import comes_to, expect

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def tab(browser, address: str) -> Iterator:
    """The page, once the merge has been painted."""
    page = browser.new_page(viewport={"width": 1440, "height": 1200})
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.messages = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda _: page.messages.append(time.monotonic())))
    page.posts = []
    page.on(
        "request",
        lambda request: (
            page.posts.append(json.loads(request.post_data))
            if request.method == "POST" and "/frame/" in request.url
            else None
        ),
    )
    page.goto(f"{address}layers")
    page.wait_for_selector('[data-testid="canvas-m"][data-alpha]', timeout=60000)
    page.wait_for_timeout(1000)
    yield page
    assert problems == []


@pytest.fixture
def page(tab):
    """All weights at a half and nothing to undo into."""
    tab.get_by_test_id("link").select_option("0")
    tab.get_by_test_id("uniform").fill("0.5")
    tab.get_by_test_id("uniform").press("Tab")
    comes_to(tab, lambda: set(weights(tab)), {0.5})
    return tab


def weights(page) -> list[float]:
    read = "(node) => [...node.querySelectorAll('[data-weight]')].map((bar) => Number(bar.dataset.weight))"
    return page.get_by_test_id("units").evaluate(read)


def painted(page) -> str:
    return page.get_by_test_id("canvas-m").get_attribute("data-alpha") or ""


def checksum(page) -> int:
    return page.get_by_test_id("canvas-m").evaluate(
        "(canvas) => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data"
        ".reduce((sum, value, place) => (sum + value * (place % 997)) % 1e9, 0)"
    )


def settled(page) -> None:
    """The frame of the present weights is on the canvas."""
    wanted = weights(page)
    comes_to(page, lambda: [float(one) for one in painted(page).split()[2::2]], wanted)
    page.wait_for_timeout(50)


def point(page, unit: int, value: float) -> tuple[float, float]:
    box = page.get_by_test_id(f"unit-{unit}").bounding_box()
    return box["x"] + value * box["width"], box["y"] + box["height"] / 2


def drag(page, *stops: tuple[int, float]) -> None:
    page.mouse.move(*point(page, *stops[0]))
    page.mouse.down()
    for stop in stops[1:]:
        page.mouse.move(*point(page, *stop), steps=3)
    page.mouse.up()


def test_dragging_a_bar_changes_the_picture_without_a_script_rerun(page) -> None:
    settled(page)
    before, calm = checksum(page), len(page.messages)
    page.mouse.move(*point(page, 1, 0.5))
    page.mouse.down()
    for value in (0.6, 0.75, 0.9, 1.0):
        page.mouse.move(*point(page, 1, value))
        page.wait_for_timeout(60)
    settled(page)
    comes_to(page, lambda: checksum(page), lambda now: now != before)
    assert len(page.messages) == calm, "nothing goes to Python while the button is down"
    page.mouse.up()
    assert weights(page)[:3] == [0.5, 1.0, 0.5]
    ran = re.compile("from downsample1_0$")  # only that block and those after it
    expect(page.get_by_test_id("timing")).to_have_text(ran)
    assert [row[0] for row in page.posts[-1]["weights"]] == weights(page) and page.posts[-1]["level"] == "block"


def test_drawing_across_bars_sets_each_to_the_pointer_and_one_undo_takes_it_back(page) -> None:
    drag(page, (2, 0.2), (12, 0.8))
    drawn = weights(page)
    assert drawn[2] == pytest.approx(0.2, abs=0.02) and drawn[12] == pytest.approx(0.8, abs=0.02)
    assert drawn[2:13] == sorted(drawn[2:13]) and len(set(drawn[2:13])) == 11, "every bar on the way lies on the line"
    assert drawn[:2] == [0.5, 0.5] and set(drawn[13:]) == {0.5}
    page.keyboard.press("Control+z")
    assert set(weights(page)) == {0.5}
    page.keyboard.press("Control+Shift+z")
    assert weights(page) == drawn
    page.get_by_test_id("undo").click()
    assert set(weights(page)) == {0.5}
    settled(page)


def test_linked_neighbours_follow_with_a_smooth_falloff(page) -> None:
    page.get_by_test_id("link").select_option("2")
    drag(page, (10, 0.5), (10, 0.9))
    near = weights(page)[7:14]
    assert near == pytest.approx([0.5, 0.6, 0.8, 0.9, 0.8, 0.6, 0.5], abs=0.02), "cosine falloff: 1, 3/4, 1/4, 0"


def test_a_locked_bar_is_the_anchors_and_stays(page) -> None:
    page.get_by_test_id("lock-4").click()
    assert weights(page)[4] == 1.0
    drag(page, (3, 0.1), (5, 0.1))
    assert weights(page)[3:6] == pytest.approx([0.1, 1.0, 0.1], abs=0.02)
    page.get_by_test_id("anchor-B").click()
    assert weights(page)[4] == 0.0
    page.get_by_test_id("anchor-A").click()
    page.get_by_test_id("lock-4").click()


def test_a_profile_gets_a_curve_of_its_own_point_by_point(page) -> None:
    expect(page.get_by_test_id("profile-curve")).to_be_hidden()  # equal weights have no shape to move
    drag(page, (2, 0.2), (8, 0.8))
    page.get_by_test_id("profile-curve").click()
    line = page.locator("path.extra-line")
    line.first.wait_for(state="attached", timeout=120000)  # two points of thirty pictures each
    comes_to(page, lambda: int(line.first.get_attribute("data-points") or 0), lambda points: points >= 2, seconds=120)
    page.get_by_test_id("profile-cancel").click()
    page.get_by_test_id("profile-cancel").wait_for(state="hidden", timeout=15000)


def test_keys_move_a_bar_and_the_focus(page) -> None:
    page.get_by_test_id("unit-0").focus()
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Home")
    assert weights(page)[:3] == [0.6, 0.0, 0.5]


def test_presets_granularity_and_names(page) -> None:
    page.get_by_test_id("preset").select_option("ramp")
    ramp = weights(page)
    count = len(ramp)
    assert ramp == pytest.approx([1 - (count - j) / (2 * count) for j in range(1, count + 1)], abs=1e-4)
    page.get_by_test_id("preset-name").fill("my ramp")
    page.get_by_test_id("preset-save").click()
    expect(page.get_by_test_id("preset").locator("option", has_text="my ramp")).to_have_count(1)
    page.get_by_test_id("granularity").select_option("part")
    comes_to(page, lambda: weights(page), lambda now: len(now) == 2 and now[0] < now[1])
    page.get_by_test_id("preset").select_option(label="my ramp")
    comes_to(page, lambda: weights(page), ramp)
    page.get_by_test_id("preset-delete").click()
    settled(page)


def test_other_checkpoints_keep_the_curve_and_get_frames_of_their_own(page) -> None:
    drag(page, (1, 0.9), (8, 0.1))
    page.wait_for_timeout(500)
    drawn, asked = weights(page), len(page.posts)
    page.get_by_role("button", name="Swap A and B").click()
    comes_to(page, lambda: len(page.posts), lambda count: count > asked)  # the same curve is asked of the other pair
    comes_to(page, lambda: ([row[0] for row in page.posts[-1]["weights"]], weights(page)), (drawn, drawn))
    settled(page)


def test_further_checkpoints_get_a_weight_and_a_brush_of_their_own(page) -> None:
    page.get_by_role("combobox", name="Further checkpoints").click()
    page.get_by_role("option", name="cycle-2").click()
    page.keyboard.press("Escape")
    page.get_by_test_id("brush-C").wait_for(state="visible", timeout=30000)
    # Units of the three, then a frame of them.
    comes_to(page, lambda: page.posts and len(page.posts[-1]["weights"][0]), 3)
    page.get_by_test_id("preset").select_option("equal")
    assert weights(page)[0] == pytest.approx(1 / 3, abs=1e-4)
    page.get_by_test_id("brush-C").click()
    drag(page, (2, 0.4), (4, 0.4))
    page.wait_for_timeout(1500)
    assert weights(page)[2:5] == pytest.approx([0.4] * 3, abs=0.02), "bars now show the weight of C"
    last = page.posts[-1]["weights"]
    assert len(last[3]) == 3 and sum(last[3]) == pytest.approx(1, abs=1e-9)
    assert last[3][0] == pytest.approx(last[3][1], abs=1.1e-4), "A and B share the rest as they did before"
    expect(page.get_by_test_id("formula")).to_contain_text("C cycle-2")
    expect(page.get_by_test_id("pane-b")).to_have_text(re.compile(r"^\s*C"), use_inner_text=True)
    page.get_by_test_id("brush-A").click()


def linked(page) -> list[float]:
    """The weights of A that the address has."""
    profile = parse_qs(urlsplit(page.url).query).get("profile", ['{"weights":[]}'])[0]
    return [row[0] for row in json.loads(profile)["weights"]]


def test_a_reload_keeps_what_was_drawn(page) -> None:
    drag(page, (3, 0.1), (9, 0.9))
    drawn = weights(page)
    comes_to(page, lambda: linked(page), drawn)
    page.reload()
    page.wait_for_selector('[data-testid="canvas-m"][data-alpha]', timeout=60000)
    comes_to(page, lambda: weights(page), drawn)
    page.get_by_test_id("granularity").select_option("tensor")  # too long for a link: the tab remembers it
    page.wait_for_url(lambda url: "profile=" not in url, timeout=30000)
    fine = comes_to(page, lambda: weights(page), lambda now: len(now) > 200)
    page.reload()
    page.wait_for_selector('[data-testid="canvas-m"][data-alpha]', timeout=60000)
    comes_to(page, lambda: weights(page), fine)
    page.get_by_test_id("granularity").select_option("block")
