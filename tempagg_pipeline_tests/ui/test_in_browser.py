"""What a person sees and does: the UI in a real browser, from the lineage to a partition's chart."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tempagg_pipeline.orchestration.asset_keys import HOURLY
from tempagg_pipeline_tests.orchestration.workplaces import GOOD, SAMPLES, Workplace, workplace_of
from tempagg_pipeline_tests.servers.chromium import chromium_page
from tempagg_pipeline_tests.servers.dagster_ui import DagsterUi
from tempagg_pipeline_tests.servers.processes import wait_until

LOCATION, CLICKED = "seen", "clicked"
_RUN_SECONDS = 120.0


@pytest.fixture(scope="module")
def workplace(dagster_ui_server: DagsterUi) -> Iterator[Workplace]:
    """With one location made, whose page is looked at, and one to be made by clicking."""
    with workplace_of(dagster_ui_server) as place:
        place.put(**{LOCATION: SAMPLES["temperature3.csv"], CLICKED: GOOD})
        assert place.run(LOCATION).success
        yield place


@pytest.fixture(scope="module")
def page(workplace: Workplace) -> Iterator[Page]:
    # After the runs: Playwright keeps an event loop going in this thread, which Dagster's runs do not expect.
    with chromium_page() as page:
        expect.set_options(timeout=120_000)
        yield page


def test_the_lineage_shows_raw_before_hourly(page: Page, dagster_ui_server: DagsterUi):
    page.goto(f"{dagster_ui_server.url}/assets/hourly_temperature?view=lineage")

    raw, hourly = (page.locator("foreignObject").filter(has_text=name) for name in ("raw_temperature", "hourly_temp"))
    expect(raw.first).to_be_visible()
    expect(hourly.first).to_be_visible()
    before, after = raw.first.bounding_box(), hourly.first.bounding_box()
    assert before is not None
    assert after is not None
    assert before["x"] < after["x"]


def partition_page(page: Page, ui: DagsterUi, location: str) -> None:
    page.goto(f"{ui.url}/assets/hourly_temperature?view=partitions&partition={location}")
    expect(page.get_by_text(location, exact=True).first).to_be_visible()


def test_a_partition_s_page_shows_its_chart_in_place(page: Page, dagster_ui_server: DagsterUi):
    partition_page(page, dagster_ui_server, LOCATION)

    chart = page.get_by_role("img", name="mean in °C")
    expect(chart).to_be_visible()
    wait_until(lambda: chart.evaluate("image => image.naturalWidth") > 0, "a picture that can be drawn")


def test_a_partition_s_page_shows_the_first_hours(page: Page, dagster_ui_server: DagsterUi):
    partition_page(page, dagster_ui_server, LOCATION)

    expect(page.get_by_role("cell", name="2024-02-26 00:00:00", exact=True)).to_be_visible()


def test_the_checks_page_tells_what_is_wrong_and_of_which_location(page: Page, dagster_ui_server: DagsterUi):
    page.goto(f"{dagster_ui_server.url}/assets/hourly_temperature?view=checks&checkDetail=complete")

    expect(page.get_by_text("Enough minutes of every hour have a reading.")).to_be_visible()
    page.get_by_role("tab", name="Partitions").last.click()
    expect(page.get_by_text(LOCATION, exact=True).first).to_be_visible()


def test_a_partition_is_materialized_by_clicking(page: Page, dagster_ui_server: DagsterUi, workplace: Workplace):
    partition_page(page, dagster_ui_server, CLICKED)

    page.get_by_role("button", name="Materialize…").first.click()
    page.get_by_role("button", name="Launch 1 run").click()

    wait_until(lambda: bool(workplace.materializations(HOURLY, CLICKED)), "the run's end", _RUN_SECONDS)
    assert workplace.store.find(f"{CLICKED}_aggregated.csv") is not None
    partition_page(page, dagster_ui_server, CLICKED)
    expect(page.get_by_role("img", name="mean in °C")).to_be_visible()


def test_the_run_history_lists_the_runs(page: Page, dagster_ui_server: DagsterUi, workplace: Workplace):
    run_id = workplace.record(HOURLY, LOCATION).run_id

    page.goto(f"{dagster_ui_server.url}/runs/{run_id}")

    expect(page.get_by_text("Success").first).to_be_visible()
    page.goto(f"{dagster_ui_server.url}/runs")
    expect(page.get_by_role("link", name=f"run {run_id[:8]}")).to_be_visible()
