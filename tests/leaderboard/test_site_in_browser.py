"""The site in Chromium: every control, no error, no other host, nothing that axe-core objects to."""

import itertools
import random
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("plotly")
pytest.importorskip("playwright")

from lgbench.leaderboard.site.build import write_site
from lgbench.leaderboard.site.groups import _sample
from lgbench.scoring.estimates import Estimate, Sample
from lgbench.scoring.measures import Interval, wilson_interval
from lgbench.scoring.significance import permutation_p
from lgbench.scoring.systems import score_trained
from tests.leaderboard.browser import Scheme, chromium, visit
from tests.leaderboard.site import GROUP, made_systems, pairs
from tests.leaderboard.test_site import patch_open_replies
from tests.made_up import MINI

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow
GROUP_PAGE = f"groups/mini-v1-{GROUP.name}.html"


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return made_systems(tmp_path_factory.mktemp("submissions"))


@pytest.fixture(scope="module")
def site(made: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch_open_replies(patch)
        write_site(made.submissions, made.folder, folder)
    return folder


def test_the_front_page_filters_sorts_and_keeps_its_state_in_the_address(browser: "Browser", site: Path) -> None:
    rows = "table.sortable:not(.matrix) tr[data-system] th"
    with visit(browser, site) as visitor:
        page = visitor.open("index.html")
        assert visitor.shown(rows) == ["alpha", "beta", "hostile", "opened"]
        assert page.locator("#count").inner_text() == "4 of 4 systems"
        page.get_by_role("searchbox", name="System", exact=True).fill("ALP")
        assert visitor.shown(rows) == ["alpha"]
        assert page.locator("#count").inner_text() == "1 of 4 systems"
        page.get_by_role("button", name="Show all").click()
        page.wait_for_function("document.getElementById('count').textContent === '4 of 4 systems'")
        page.get_by_role("combobox", name="Division", exact=True).select_option("open")
        assert visitor.shown(rows) == []
        page.get_by_role("combobox", name="Division", exact=True).select_option("closed")
        assert visitor.shown(rows) == ["alpha", "beta", "hostile"]
        page.get_by_role("combobox", name="Tier", exact=True).select_option("recorded")
        assert visitor.shown(rows) == ["alpha"]
        assert "opened" not in page.locator("main").inner_text()
        page.get_by_role("combobox", name="Tier", exact=True).select_option("")
        page.get_by_role("combobox", name="With runs in group", exact=True).select_option("maze-path")
        assert visitor.shown(rows) == []
        page.get_by_role("combobox", name="With runs in group", exact=True).select_option(GROUP.name)
        page.get_by_role("spinbutton", name="Parameters from").fill("30000")
        assert visitor.shown(rows) == ["alpha"]
        page.get_by_role("spinbutton", name="Parameters from").fill("")
        page.get_by_role("spinbutton", name="to", exact=True).fill("30000")
        assert visitor.shown(rows) == ["beta"]
        page.get_by_role("spinbutton", name="to", exact=True).fill("")

        # Sorting, with the keyboard alone.
        score = page.get_by_role("button", name="mean group score").first
        score.focus()
        page.keyboard.press("Enter")
        assert page.locator("th[aria-sort='descending']").inner_text().startswith("mean group score")
        assert visitor.shown(rows) == ["alpha", "beta", "hostile"]
        page.keyboard.press("Enter")
        assert page.locator("th[aria-sort='ascending']").count() == 1
        assert visitor.shown(rows) == ["hostile", "beta", "alpha"]

        state = (page.url, visitor.shown(rows))
        assert "#?" in page.url
        page.goto("about:blank")
        page.goto(state[0])
        assert visitor.shown(rows) == state[1]
        assert page.get_by_role("combobox", name="Division", exact=True).input_value() == "closed"
        assert page.locator("th[aria-sort='ascending']").count() == 1


def test_the_matrix_sorts_by_a_group_and_a_third_click_restores_it(browser: "Browser", site: Path) -> None:
    rows = "#mini-v1-groups-table tbody tr[data-system] th"
    with visit(browser, site) as visitor:
        page = visitor.open("index.html")
        before = visitor.shown(rows)
        blocks = visitor.shown("#mini-v1-groups-table tr.block")
        button = page.get_by_role("button", name=f"Sort by {GROUP.name}")
        orders = []
        for _ in range(3):
            button.click()
            orders.append(visitor.shown(rows))
        # alpha is recorded and the others are not: all three are unverified, in one block or in several.
        assert orders[0] == ["alpha", "beta", "hostile"]
        assert orders[1] == ["hostile", "beta", "alpha"]
        assert orders[2] == before
        assert visitor.shown("#mini-v1-groups-table tr.block") == blocks
        button.click()
        page.goto(page.url)
        page.reload()
        assert visitor.shown(rows) == orders[0]


def test_a_system_of_arm_open_is_drawn_beside_trained_ones(browser: "Browser", site: Path) -> None:
    with visit(browser, site) as visitor:
        page = visitor.open("systems/opened.html")
        page.get_by_role("link", name=GROUP.name).last.click()
        traces = page.locator("#chart .scatterlayer .trace")
        traces.first.wait_for(state="attached")
        assert traces.count() == 1, "the link chooses it alone"
        page.get_by_label("alpha", exact=True).check()
        assert traces.count() == 2
        page.get_by_text("The numbers of the picture").click()
        told = visitor.shown("#numbers tr")
        assert [text.split()[0] for text in told] == ["alpha", "opened"]
        mark, *shown = told[1].split()[1:]
        assert mark == "(open)"
        # The browser rounds a half up, and Python to an even digit.
        assert list(map(float, shown)) == pytest.approx([100 * length / 256 for length in GROUP.grid], abs=0.051)
        page.get_by_role("combobox", name="Arm", exact=True).select_option("control")
        assert traces.count() == 2, "it is drawn with every arm"


def test_nothing_unverified_rises_above_what_is_verified(browser: "Browser", site: Path) -> None:
    """Each table is sorted by itself: the division and the verification of its rows are in its heading."""
    with visit(browser, site) as visitor:
        page = visitor.open("index.html")
        before = page.locator("h3").all_inner_texts()
        for button in page.locator("table.sortable thead button").all():
            button.click()
        assert page.locator("h3").all_inner_texts() == before


def test_a_group_draws_every_choice_and_tells_two_systems_apart(browser: "Browser", site: Path, made: Any) -> None:
    with visit(browser, site) as visitor:
        page = visitor.open(GROUP_PAGE)
        traces = page.locator("#chart .scatterlayer .trace")
        assert traces.count() == 3
        assert page.locator("#chart .shapelayer path").count() == 5, "three zones and two training lengths"
        page.get_by_label("each seed").check()
        assert traces.count() == 3 + 3 + 3, "hostile has one seed, which is its mean"
        page.get_by_label("beta", exact=True).uncheck()
        assert traces.count() == 1 + 3 + 1
        page.get_by_text("The numbers of the picture").click()
        assert [text.split()[0] for text in visitor.shown("#numbers tr")] == ["alpha", "hostile"]
        page.get_by_role("combobox", name="Arm", exact=True).select_option("control")
        assert "under control: alpha, hostile" in (page.locator("#chart").get_attribute("aria-label") or "")
        page.get_by_role("combobox", name="Arm", exact=True).select_option("transfer")
        page.get_by_label("Find a system").fill("bet")
        assert visitor.shown("#choice .list label") == ["beta"]

        for one, other in pairs(made):
            page.get_by_role("combobox", name="First", exact=True).select_option(one.system.name)
            page.get_by_role("combobox", name="Second", exact=True).select_option(other.system.name)
            told = page.locator("#answer").inner_text()
            first, second = (score_trained([run.result for run in each.runs], MINI) for each in (one, other))
            scores = [
                next(group.score for group in each.groups if group.group.name == GROUP.name) for each in (first, second)
            ]
            assert told == sentence(one.system.name, other.system.name, *scores)  # type: ignore[arg-type]
        assert traces.count() == 4 + 1 + 4, "beta is drawn too, as it is compared"
        page.get_by_role("combobox", name="Second", exact=True).select_option(
            page.get_by_role("combobox", name="First", exact=True).input_value()
        )
        assert page.locator("#answer").inner_text() == "Choose two different systems."

        url, numbers = page.url, visitor.shown("#numbers tr")
        page.goto("about:blank")
        page.goto(url)
        assert page.get_by_label("each seed").is_checked()
        assert not page.get_by_label("beta", exact=True).is_checked()
        page.get_by_text("The numbers of the picture").click()
        assert visitor.shown("#numbers tr") == numbers


def sentence(one: str, other: str, first: Estimate, second: Estimate) -> str:
    """What the page says of two systems, from the estimates of lgbench."""
    gap = first - second
    value, interval = float(gap.value), gap.interval
    far = f"{one} is {abs(100 * value):.1f} points {'below' if value < 0 else 'above'} {other} in the transfer zone"
    assert interval is not None
    ends = " to ".join(f"{100 * end:+.1f}" for end in interval)
    if gap.one_seed:
        return (
            f"{far} (95 % interval of the difference {ends}). One of them has one seed, so the interval is over "
            "examples alone, and no test can tell them apart."
        )
    assert gap.p_value is not None
    number = "p < 0.001" if gap.p_value < 0.001 else f"p = {gap.p_value:.3f}"
    apart = "The test tells them apart, if this pair alone was to be tested."
    verdict = apart if gap.p_value <= 0.05 else "The test does not tell them apart."
    return f"{far} (95 % interval of the difference {ends}; {number}, Welch's t test over seeds). {verdict}"


def some_samples() -> list[Sample]:
    numbers = random.Random(1)
    found = []
    for seeds in (1, 2, 3, 5, 10):
        for spread in (0, 1, 40, 200):
            center = numbers.randrange(257)
            shares = [min(256, max(0, center + numbers.randint(-spread, spread))) for _ in range(seeds)]
            over = wilson_interval(shares[0], 256)
            found.append(Sample(tuple(Fraction(share, 256) for share in shares), Interval(*over)))
    return found


def test_the_pages_statistics_are_those_of_lgbench(browser: "Browser", site: Path) -> None:
    samples = some_samples()
    sides = list(itertools.product(samples, repeat=2))
    given = [[_sample(one), _sample(other)] for one, other in sides]
    with visit(browser, site) as visitor:
        page = visitor.open(GROUP_PAGE)
        told = page.evaluate("(pairs) => pairs.map(([one, other]) => statistics.difference(one, other))", given)
    for (one, other), found in zip(sides, told, strict=True):
        if one is other:
            continue
        gap = Estimate({one: Fraction(1)}) - Estimate({other: Fraction(1)})
        assert found["value"] == pytest.approx(float(gap.value), abs=1e-12)
        if gap.interval is None:
            assert found["interval"] is None
            both = [permutation_p(one.accuracies, other.accuracies), permutation_p(other.accuracies, one.accuracies)]
            assert found["p"] == pytest.approx(min(1.0, 2 * float(min(both))), rel=1e-9)
        else:
            assert found["interval"] == pytest.approx(list(gap.interval), abs=1e-9)
            assert found["p"] == (None if gap.p_value is None else pytest.approx(gap.p_value, rel=1e-6, abs=1e-12))


def test_a_systems_page_shows_trainings_mistakes_and_strangers_texts(browser: "Browser", site: Path) -> None:
    with visit(browser, site) as visitor:
        page = visitor.open("systems/alpha.html")
        traces = page.locator("#training-chart .scatterlayer .trace")
        assert traces.count() == 9
        before = page.locator("#training-chart").get_attribute("aria-label")
        page.get_by_role("combobox", name="Shown", exact=True).select_option("loss")
        assert page.locator("#training-chart").get_attribute("aria-label") != before
        summary = page.get_by_text("Wrong replies to capitalize_reverse")
        summary.focus()
        page.keyboard.press("Enter")
        assert page.locator("pre").first.is_visible()
        page.get_by_role("link", name="Link to: Runs").click()
        assert page.url.endswith("#runs")

        page = visitor.open("systems/hostile.html")
        assert page.evaluate("window.hacked") is None
        assert page.locator("main script").count() == 0
        assert "<img src=x onerror='window.hacked = 2'>" in page.locator("main").inner_text()
        page.get_by_text("Wrong replies to capitalize_reverse").click()
        assert "<script>window.hacked=3</script>" in page.locator("pre").first.inner_text()


def test_the_theme_changes_and_stays(browser: "Browser", site: Path) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    with visit(browser, site) as visitor:
        page = visitor.open("index.html")
        light = page.evaluate(background)
        button = page.locator("#theme")
        button.click()
        assert button.inner_text() == "Theme: light"
        button.click()
        assert button.inner_text() == "Theme: dark"
        assert page.evaluate(background) != light
        visitor.open("systems/opened.html")
        assert page.locator("#theme").inner_text() == "Theme: dark"
        assert page.evaluate(background) != light
    with visit(browser, site, scheme="dark") as visitor:
        assert visitor.open("index.html").evaluate(background) != light


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (390, "dark")])
def test_axe_finds_nothing_and_no_page_scrolls_sideways(
    browser: "Browser", site: Path, width: int, scheme: Scheme
) -> None:
    with visit(browser, site, width=width, scheme=scheme) as visitor:
        for path in ("index.html", GROUP_PAGE, "systems/alpha.html", "systems/hostile.html", "systems/opened.html"):
            page = visitor.open(path)
            page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
            assert visitor.violations() == [], path
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path


def test_the_first_page_loads_no_plotting_library(browser: "Browser", site: Path) -> None:
    with visit(browser, site) as visitor:
        page = visitor.open("index.html")
        loaded = page.evaluate("[...document.scripts].map((each) => each.src)")
        assert [name.rpartition("/")[2] for name in loaded] == ["theme.js", "sort.js", "board.js"]
        assert page.evaluate("typeof Plotly") == "undefined"
