"""A Prometheus's part: scrapes a process over HTTP and reads values by name and labels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import urllib3
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample


@dataclass(frozen=True)
class Scraped:
    """One answer of `/metrics`."""

    samples: tuple[Sample, ...]

    def value(self, name: str, **labels: str) -> float:
        """The one sample with exactly these labels; AssertionError without it."""
        found = [each.value for each in self.samples if each.name == name and each.labels == labels]
        assert len(found) == 1, f"{name}{labels}: {found}; there are {list(self.of(name))}"
        return found[0]

    def of(self, name: str) -> Iterator[dict[str, str]]:
        """The label sets of a sample's name."""
        return (each.labels for each in self.samples if each.name == name)

    def label(self, name: str, label: str) -> set[str]:
        """All values of one label."""
        return {labels[label] for labels in self.of(name)}

    def above_0(self, name: str) -> dict[tuple[str, ...], float]:
        """What has been counted, by label values in the order of the labels' names."""
        return {
            tuple(value for _, value in sorted(each.labels.items())): each.value
            for each in self.samples
            if each.name == name and each.value > 0
        }

    @property
    def families(self) -> set[str]:
        return {each.name for each in self.samples}


def scrape(base: str) -> Scraped:
    """`base`: such as http://127.0.0.1:8000."""
    with urllib3.PoolManager() as http:
        response = http.request("GET", f"{base}/metrics", retries=False, timeout=10)
        assert response.status == 200, response.data
        assert response.headers["Content-Type"].startswith("text/plain")
        return read(response.data.decode())


def read(text: str) -> Scraped:
    families = text_string_to_metric_families(text)
    return Scraped(tuple(sample for family in families for sample in family.samples))


def is_unknown(value: float) -> bool:
    """Whether it is NaN: could not be read."""
    return math.isnan(value)


def assert_usual(scraped: Scraped, process: str) -> None:
    """What every process tells of itself."""
    assert scraped.label("enrich_build_info", "process") == {process}
    assert scraped.families >= {"process_resident_memory_bytes", "process_cpu_seconds_total", "python_info"}
    assert not [name for name in scraped.families if name.endswith("_created")]
