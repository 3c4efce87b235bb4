"""A first look at own data: it runs once and by itself, says on how many pictures, gives way, and can be ended."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from fusionlib.engine.worker import FRAME, JOB, Worker
from fusionlib.studio import MergeView, Selection, Studio, app_options
from fusionlib.studio.first_look import MIDDLE, lacking, only_first
from fusionlib.studio.frame_wish import FrameWish
from pages.widgets import server
from tests.helpers import folder_data, tiny_world, until
from tests.page_tools import button, opened, text, tiny_files

FEW, ALL = 3, 5


class Viewer:
    """A session, as far as the desk knows one."""


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A first look takes three pictures at most."""
    monkeypatch.setattr("fusionlib.studio.first_look.PICTURES", FEW)


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    """Over a and b and five pictures."""
    with tiny_world(tmp_path, count=ALL) as world:
        yield world.studio


def view_of(studio: Studio, buffers: str = "average") -> MergeView:
    (source,) = studio.workspace.sources
    split = studio.workspace.first_split(source.name)
    return studio.view(Selection("a", "b", source.name, split, buffers))


def watch(studio: Studio, view: MergeView, viewer: object) -> None:
    studio.first_looks.watch(viewer, view, studio.sweep(view))


@contextmanager
def held(worker: Worker) -> Iterator[None]:
    """Nothing is computed inside the block."""
    release = threading.Event()
    worker.submit(lambda: release.wait(60), FRAME)
    try:
        yield
    finally:
        release.set()


# --- what is measured -------------------------------------------------------------------------------------------------


def test_a_short_split_is_looked_at_as_a_whole_and_begins_the_curve(studio: Studio) -> None:
    view, viewer = view_of(studio), Viewer()
    sweep = studio.sweep(view)
    assert sweep.cost(0.05) == 21 * ALL
    assert lacking(sweep) and studio.first_looks.part(view) is None
    watch(studio, view, viewer)
    sweep.wait(60)
    assert set(sweep.points) == {"a", "b", 0.0, MIDDLE, 1.0} and only_first(sweep) and not lacking(sweep)
    assert studio.runner.tally.run == 3 * ALL, "alpha 0 and 1 are B and A"
    assert {figures["images"] for figures in sweep.points.values()} == {ALL}
    cost, spent = sweep.cost(0.05), studio.runner.tally.run
    sweep.measure(0.05)
    assert studio.runner.tally.run - spent == cost == 18 * ALL and not only_first(sweep) and sweep.cost(0.05) == 0


def test_of_a_long_split_the_first_pictures_are_measured_and_are_no_points_of_the_curve(few, studio: Studio) -> None:
    view, viewer = view_of(studio), Viewer()
    watch(studio, view, viewer)
    part = studio.first_looks.part(view)
    assert part is not None
    part.wait(60)
    assert {figures["images"] for figures in part.points.values()} == {FEW} and (part.images, part.whole) == (FEW, ALL)
    assert studio.sweep(view).points == {} and lacking(studio.sweep(view))
    assert studio.runner.tally.run == 3 * FEW
    only = studio.workspace.pictures(view.selection.source, view.selection.split, FEW)
    assert studio.measure(view.alone("a"), only)["miou"] == part.points["a"]["miou"], "as --limit has it"
    told = studio.first_looks.found(view, studio.sweep(view))
    assert told is not None and (told["images"], told["whole"]) == (FEW, ALL)
    assert {alpha: figures["miou"] for alpha, figures in told["points"].items()} == {
        1: part.points["a"]["miou"], 0: part.points["b"]["miou"], MIDDLE: part.points[MIDDLE]["miou"],
    }  # fmt: skip
    studio.sweep(view).measure(0.5)
    assert studio.first_looks.found(view, studio.sweep(view)) is None, "the curve says more"
    assert studio.runner.tally.run == 3 * ALL, "what was looked at is not measured again"


def test_what_is_known_is_not_looked_at(few, studio: Studio) -> None:
    view = view_of(studio)
    studio.sweep(view).measure(0.5)
    spent = studio.runner.tally.run
    watch(studio, view, Viewer())
    part = studio.first_looks.part(view)
    assert part is not None and part.state in ("idle", "done") and studio.runner.tally.run == spent


def test_the_first_pictures_are_the_whole_splits_own(studio: Studio) -> None:
    from fusionlib.data.cache import FirstPictures

    whole = view_of(studio).need_pictures()
    first = FirstPictures(whole, FEW)
    assert len(first) == FEW and first.load(0) is whole.load(0) and first.size(1) == whole.size(1)
    assert first.used_bytes == 0 and first.fingerprint() != whole.fingerprint()
    assert [first.picture_key(index) for index in range(FEW)] == [whole.picture_key(index) for index in range(FEW)]
    with pytest.raises(IndexError):
        first.load(FEW)


# --- when it begins and ends ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [FEW, ALL])
def test_a_look_that_was_cancelled_does_not_begin_again(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr("fusionlib.studio.first_look.PICTURES", limit)
    view, viewer = view_of(studio), Viewer()
    with held(studio.worker):
        watch(studio, view, viewer)
        work = studio.first_looks.part(view) or studio.sweep(view)
        assert work.state == "running"
        work.cancel()
    work.wait(60)
    for one in (viewer, Viewer()):
        watch(studio, view, one)
        assert work.state == "cancelled"
    studio.first_looks.leave(viewer)
    watch(studio, view, viewer)
    assert work.state == "cancelled"


@pytest.mark.parametrize("limit", [FEW, ALL])
def test_a_look_ends_with_its_last_viewer_and_goes_on_when_one_is_back(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr("fusionlib.studio.first_look.PICTURES", limit)
    view, other, one, two = view_of(studio), view_of(studio, "anchor"), Viewer(), Viewer()
    with held(studio.worker):
        watch(studio, view, one)
        watch(studio, view, two)
        work = studio.first_looks.part(view) or studio.sweep(view)
        watch(studio, other, one)
        assert not work.stopping, "another session watches it"
        studio.first_looks.still(two, view.selection)
        assert not work.stopping
        studio.first_looks.still(two, other.selection)
        assert work.stopping
    work.wait(60)
    assert work.state == "cancelled"
    watch(studio, view, one)
    work.wait(60)
    assert work.state == "done"


def test_a_curve_that_somebody_asked_for_is_not_ended_by_who_leaves(studio: Studio) -> None:
    view, viewer = view_of(studio), Viewer()
    sweep = studio.sweep(view)
    with held(studio.worker):
        watch(studio, view, viewer)
        studio.first_looks.make_way(view)
        sweep.want(0.25)
        studio.first_looks.leave(viewer)
        assert sweep.state == "running" and not sweep.stopping
    sweep.wait(60)
    assert {0.25, 0.75} <= set(sweep.points)


def test_a_look_makes_way_for_the_curve_and_does_not_come_back(few, studio: Studio) -> None:
    view, viewer = view_of(studio), Viewer()
    with held(studio.worker):
        watch(studio, view, viewer)
        part = studio.first_looks.part(view)
        assert part is not None
        studio.first_looks.make_way(view)
        assert part.stopping
    part.wait(60)
    watch(studio, view, viewer)
    assert part.state == "cancelled"


@pytest.mark.parametrize("limit", [FEW, ALL])
def test_a_frame_goes_before_the_next_batch_of_a_look(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr("fusionlib.studio.first_look.PICTURES", limit)
    view, order, submit = view_of(studio), [], studio.worker.submit

    def noted(call, priority: int = JOB):
        return submit(lambda: (order.append(priority), call())[1], priority)

    with held(studio.worker):
        monkeypatch.setattr(studio.worker, "submit", noted)
        watch(studio, view, Viewer())
        work = studio.first_looks.part(view) or studio.sweep(view)
        assert until(lambda: len(studio.worker._heap) == 1)
        frame = view.ask(FrameWish(0, 0.5))
        assert until(lambda: len(studio.worker._heap) == 2)
    frame.result(60)
    work.wait(60)
    assert order[0] == FRAME and JOB in order


# --- on the page ------------------------------------------------------------------------------------------------------


def test_it_is_on_unless_it_is_switched_off() -> None:
    assert app_options([]).auto and not app_options(["--no-auto"]).auto


@contextmanager
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, auto: bool = True) -> Iterator[AppTest]:
    files = tiny_files(tmp_path / "files")
    with opened("explore.py", tmp_path / "home", monkeypatch, auto=auto) as open_page:
        yield open_page("--checkpoints", str(files), "--data", f"folder:{folder_data(tmp_path / 'data', ALL)}")


def shown(app: AppTest) -> MergeView:
    """The view of the page."""
    state = app.session_state
    return server.studio().view(Selection(state["a"], state["b"], state["data"], None))


def test_the_page_measures_by_itself_once_and_says_on_how_many_pictures(
    few, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with page(tmp_path, monkeypatch) as app:
        studio = server.studio()
        part = studio.first_looks.part(shown(app))
        assert part is not None
        part.wait(60)
        app.run()
        assert f"{FEW} of {ALL} pictures" in text(app) and "has no points of this" in text(app)
        miou = f"mIoU of A {100 * part.points['a']['miou']:.1f}"
        assert miou in text(app).replace("\\", "")
        assert f"at most {studio.sweep(shown(app)).cost(0.05)} forward passes" in text(app)
        spent = studio.runner.tally.run
        app.run()
        assert part.state == "done" and studio.runner.tally.run == spent
        studio.sweep(shown(app)).measure(0.5)
        app.run()
        assert f"{FEW} of {ALL} pictures" not in text(app) and "forward passes" in text(app)


def test_the_page_shows_how_far_it_is_and_cancels_it(few, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker: list[Worker] = []
    started = Studio.__init__

    def stopped(studio: Studio, options) -> None:
        started(studio, options)
        worker.append(studio.worker)
        release.enter_context(held(studio.worker))

    from contextlib import ExitStack

    with ExitStack() as release:
        monkeypatch.setattr(Studio, "__init__", stopped)
        with page(tmp_path, monkeypatch) as app:
            part = server.studio().first_looks.part(shown(app))
            assert part is not None and part.state == "running"
            button(app, "Cancel").click().run()
            release.close()
            part.wait(60)
            for _ in range(2):
                app.run()
                assert part.state == "cancelled" and button(app, "Cancel") is None
            assert "First look" not in text(app) and not app.exception


def test_another_selection_ends_it_on_any_page(few, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with page(tmp_path, monkeypatch, auto=False) as app:
        view = shown(app)
        studio = server.studio()
        part = studio.first_looks.part(view)
        assert part is not None and part.state == "idle", "switched off"
        with held(studio.worker):
            studio.first_looks.watch(app.session_state["live-session"], view, studio.sweep(view))
            app.switch_page("workspace.py").run()
            assert part.state == "running" and not part.stopping
            next(item for item in app.selectbox if item.label == "Checkpoint A").set_value("c0").run()
            assert part.stopping


def test_nothing_is_measured_by_itself_where_that_is_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with page(tmp_path, monkeypatch, auto=False) as app:
        app.run()
        sweep = server.studio().sweep(shown(app))
        assert sweep.state == "idle" and sweep.points == {} and "forward passes" not in text(app)
