from html.parser import HTMLParser

from foldcli.folding.index import index_html
from foldcli.folding.record import Record

RECORDS = [
    Record(
        "1UBQ", "done", 76, 4, model="model_1", plddt=92.14, seconds=1.25, files=["report.html"], notes=["<i>late</i>"]
    ),
    Record("b%20c", "done", 76, 4, plddt=40.0),
    Record("d", "failed", 9, 1, error="<b>out of memory</b>"),
    Record("e", "waiting", 9, 1),
]


class Links(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str | None] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name == "href" and tag == "a"]


def test_the_index_lists_what_became_of_each_job_and_leads_to_what_there_is() -> None:
    page = index_html(RECORDS)
    assert "2 done, 1 failed, 1 waiting" in page
    assert "UNTRAINED" not in page
    assert Links(page).found == ["1UBQ/report.html", "b%2520c/", "summary.csv", "results.jsonl"]
    assert "&lt;b&gt;out of memory&lt;/b&gt;" in page and "&lt;i&gt;late&lt;/i&gt;" in page
    assert "<b>" not in page
    assert "</i>92.1</td>" in page


def test_only_complexes_bring_a_column_of_iptm() -> None:
    assert "ipTM" not in index_html(RECORDS)
    page = index_html([*RECORDS, Record("pair", "done", 20, 1, plddt=80.0, ptm=0.7, iptm=0.615)])
    assert page.count('data-label="ipTM"></td>') == 4 and 'data-label="ipTM">0.61</td>' in page
