"""Takes the pictures of the documentation from the real UI: ``python -m tempagg_pipeline_tests.ui.screenshots``."""

import tempfile
from pathlib import Path

from playwright.sync_api import Page

from tempagg_pipeline_tests.orchestration.workplaces import SAMPLES, Workplace, registered, workplace_of
from tempagg_pipeline_tests.servers.chromium import chromium_page
from tempagg_pipeline_tests.servers.dagster_ui import DagsterUi, dagster_ui

IMAGES = Path(__file__).parents[2] / "docs" / "images"
SHOWN = "temperature3"


def main() -> None:
    """Run the bundled samples, then photograph lineage, a partition, its checks, and the runs."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="tempagg-") as directory,
        dagster_ui(Path(directory)) as ui,
        workplace_of(ui) as workplace,
    ):
        make_history(workplace)
        with chromium_page(1360, 800) as page:
            take_lineage(page, ui)
            take_partition(page, ui)
            take_check(page, ui)
            take_runs(page, ui)


def make_history(workplace: Workplace) -> None:
    """One run over all samples, and one of a single location."""
    workplace.put(**{name.removesuffix(".csv"): content for name, content in SAMPLES.items()})
    locations = registered(workplace.instance)
    assert workplace.run(locations[0], locations[-1]).success
    assert workplace.run(SHOWN).success


def take_lineage(page: Page, ui: DagsterUi) -> None:
    """Assets, their partitions and checks."""
    page.goto(f"{ui.url}/asset-groups")
    page.get_by_text("11 partitions").first.wait_for()
    save(page, "lineage")


def take_partition(page: Page, ui: DagsterUi) -> None:
    """Chart and first hours of one location."""
    page.goto(f"{ui.url}/assets/hourly_temperature?view=partitions&partition={SHOWN}")
    page.get_by_role("img", name="mean in °C").wait_for()
    save(page, "partition")


def take_check(page: Page, ui: DagsterUi) -> None:
    """A check that failed, and where."""
    page.goto(f"{ui.url}/assets/hourly_temperature?view=checks&checkDetail=complete")
    page.get_by_text("Target materialization").wait_for()
    save(page, "checks")


def take_runs(page: Page, ui: DagsterUi) -> None:
    """History of runs."""
    page.goto(f"{ui.url}/runs")
    page.get_by_text("Success").first.wait_for()
    save(page, "runs")


def save(page: Page, name: str) -> None:
    """Write a picture once nothing is loading any more."""
    page.wait_for_load_state("networkidle")
    page.screenshot(path=IMAGES / f"{name}.png", animations="disabled")


if __name__ == "__main__":
    main()
