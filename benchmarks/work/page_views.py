"""What people wait for: the list of many devices, and charts that are drawn in a browser."""

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator

from benchmarks import database, fleet
from benchmarks.bench import Bench, median, percentile
from benchmarks.client import Refused
from benchmarks.dataset import KEYS, TYPE
from benchmarks.device_lists import LISTED
from benchmarks.paths import HOST, ROOT
from benchmarks.progress import say
from benchmarks.reading_rows import Row, at_most
from benchmarks.servers import NotHere, running

TIMES = 40
LISTS = {"": "the first page", "?page=60": "page 60", "?q=north&sort=seen": "a search, sorted"}
CLICK = """async (name) => {
    const charts = document.querySelector("telemetry-history");
    const started = performance.now();
    charts.querySelector(`.ranges a[data-name="${name}"]`).click();
    while (charts.getAttribute("aria-busy")) await new Promise(requestAnimationFrame);
    await new Promise(requestAnimationFrame);
    return performance.now() - started;
}"""
ZOOM = """async () => {
    const charts = document.querySelector("telemetry-history");
    const started = performance.now();
    charts.querySelector("[data-zoom='0.5']").click();
    while (charts.getAttribute("aria-busy")) await new Promise(requestAnimationFrame);
    await new Promise(requestAnimationFrame);
    return performance.now() - started;
}"""


def device_list(bench: Bench) -> Iterator[Row]:
    """Pages of the list of one who has 5,000 devices, each with a day of hours and some readings:
    with counts, values, small lines and commands.
    """
    assert bench.large_stored
    cookie = _signed_in(bench.large, "list")
    ours = fleet.ours(bench.large)
    with running(ours):
        line = http.client.HTTPConnection(HOST, ours.port, timeout=60)
        for query, name in LISTS.items():
            taken = []
            for _ in range(TIMES):
                started = time.perf_counter()
                line.request("GET", f"/{query}", headers={"Cookie": cookie})
                answer = line.getresponse()
                answer.read()
                if answer.status != 200:
                    raise Refused(f"the list was answered {answer.status}")
                taken.append((time.perf_counter() - started) * 1000)
            slow, note = percentile(taken, 95), f"p50 {median(taken):.1f} ms"
            say(f"list of {LISTED:,} devices, {name}: p95 {slow:.1f} ms, {note}")
            work = f"list of {LISTED:,} devices, {name}"
            yield Row(work, "ms, p95", slow, goal=at_most(100), note=note)
        line.close()


def drawn(bench: Bench) -> Iterator[Row]:
    """In Chromium, from the click to the frame that shows it: charts of three keys over a year of
    a reading every 10 s, and a zoom into them. Raises NotHere.
    """
    try:
        from playwright.sync_api import sync_playwright

        from tests import browser
    except ImportError:
        raise NotHere("playwright is not installed (pip install playwright)") from None
    path = browser.find()
    if path is None:
        raise NotHere("there is no Chromium (apt-get install chromium)")
    stored, ours = bench.large_stored, fleet.ours(bench.large)
    name, _, value = _signed_in(bench.large, "bench").partition("=")
    keys = "&".join(f"key={TYPE}.{key}" for key in KEYS)
    with running(ours), sync_playwright() as playwright:
        site = f"http://localhost:{ours.port}"
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        context = chromium.new_context(viewport={"width": 1440, "height": 900})
        context.add_cookies([{"name": name, "value": value, "url": site}])
        page = context.new_page()
        year, zoom = [], []
        for _ in range(TIMES // 2):
            page.goto(f"{site}/devices/{stored.device}/history?range=24h&{keys}")
            page.locator("telemetry-history canvas").first.wait_for()
            year.append(float(page.evaluate(CLICK, "1y")))
            zoom.append(float(page.evaluate(ZOOM)))
        chromium.close()
    for work, taken, most in (("a year's charts", year, 150), ("a zoom into them", zoom, 100)):
        slow, note = percentile(taken, 95), f"p50 {median(taken):.0f} ms"
        say(f"{work}: p95 {slow:.0f} ms, {note}")
        yield Row(f"{work}, click to drawn", "ms, p95", slow, goal=at_most(most), note=note)


def _signed_in(name: str, user: str) -> str:
    """The cookie of a user of a database, who is made if need be, with what is asked of them."""
    told = subprocess.run(
        [sys.executable, "-m", "benchmarks.device_lists", user],
        cwd=ROOT,
        env=database.environment(name) | {"PORT": str(fleet.ours(name).port)},
        check=True,
        stdout=subprocess.PIPE,
    )
    return str(json.loads(told.stdout))
