"""The report of a tier: what it says of made-up results, and how a browser shows it."""

from __future__ import annotations

import colorsys
import itertools
import math
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
import yaml
from matplotlib.colors import to_rgb
from snakemake.utils import update_config

from dgmpipe.config import Config
from dgmpipe.figures.figure_flow import TRUE_COLOUR
from dgmpipe.figures.style import DATA, LATENT
from dgmpipe.pages import report
from dgmpipe.pages.captions import NOT_COMPUTED, write_captions
from dgmpipe.pages.report import make_report, rule_of
from dgmpipe.pages.statements import STATEMENTS
from dgmpipe.pages.tables import COLUMNS, number, readable
from dgmpipe.pages.tiers import TITLES, Tier
from dgmpipe.plan.exhibits import exhibits
from dgmpipe.plan.summary import pm
from dgmpipe.plan.trainings import trainings
from made_up_tier import LAID_OVER, write_tier

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parent.parent
TEMPLATES = ROOT / "workflow/report"
WIDTHS = (1280, 400)
COLOURS = {"red", "orange", "blue", "green", "black", "white", "grey"}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "results/made-up"
    write_tier(folder)
    (folder / "companion.html").write_text("<!DOCTYPE html><title>companion</title>")
    assert make_report(folder, TEMPLATES)
    return folder


@pytest.fixture(scope="module")
def config(results: Path) -> Config:
    return Tier(results).config


@pytest.fixture(scope="module")
def source(results: Path) -> str:
    return (results / "report.html").read_text(encoding="utf-8")


class Shown:
    """The report in a browser, and what it complained of and asked for."""

    def __init__(self, page: Page, path: Path) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda m: self.complaints.append(m.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.goto(path.as_uri())


@pytest.fixture(scope="module", params=[(w, c) for w in WIDTHS for c in ("light", "dark")], ids=str)
def shown(request: pytest.FixtureRequest, results: Path, browser: Browser) -> Iterator[Shown]:
    width, scheme = request.param
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    yield Shown(page, results / "report.html")
    page.close()


def test_the_page_stands_alone_and_fits(shown: Shown, results: Path) -> None:
    assert shown.complaints == []
    assert {url.split(":")[0] for url in shown.requests} <= {"file", "data"}
    assert [u for u in shown.requests if u[:5] == "file:"] == [(results / "report.html").as_uri()]
    width = shown.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width[0] <= width[1]
    # What is wider than the page, such as a table, scrolls by itself and can be reached by keys.
    wide = """() => [...document.querySelectorAll('main *')].filter(
        e => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.scroll[tabindex="0"]')
    ).map(e => e.outerHTML.slice(0, 200))"""
    assert shown.page.evaluate(wide) == []


def test_of_a_rule_it_shows_what_was_measured(source: str) -> None:
    def row(rule: str) -> list[str]:
        (found,) = re.findall(rf"<tr><th[^>]*>{rule}<.*?</tr>", source)
        return re.findall(r">([^<]*)</t[hd]>", found)

    assert row("train")[3] == "900"
    assert row("figure_02_moons") == ["figure_02_moons", "1", "1.5", "–"], "it is drawn in a fork"


# Of every text the contrast to the nearest background behind it, WCAG 2.2.
CONTRAST = """() => {
    const values = colour => colour.match(/[\\d.]+/g).map(Number);
    const light = colour => values(colour).slice(0, 3).map(v => v / 255)
        .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = element => {
        for (let e = element; e; e = e.parentElement) {
            const colour = getComputedStyle(e).backgroundColor;
            if ((values(colour)[3] ?? 1) === 1) return colour;
        }
        return 'rgb(255, 255, 255)';
    };
    const found = [];
    for (const details of document.querySelectorAll('details')) details.open = true;
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        if (!walker.currentNode.data.trim() || element.matches('script, style')) continue;
        const [a, b] = [light(getComputedStyle(element).color), light(behind(element))];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        found.push([ratio, element.outerHTML.slice(0, 120)]);
    }
    for (const details of document.querySelectorAll('details')) details.open = false;
    return found;
}"""


def test_every_text_has_contrast(shown: Shown) -> None:
    found = shown.page.evaluate(CONTRAST)
    assert len(found) > 500
    assert min(found)[0] >= 4.5, min(found)


def _energy_distances(folder: Path) -> pd.Series[float]:
    """The energy distance of every generator, of seed 0."""
    table = pd.read_csv(folder / "tables/generators.csv")
    return table[table["seed"] == 0].set_index("model")["energy_distance"]


def test_the_first_screen_has_the_answer(shown: Shown, config: Config, results: Path) -> None:
    page = shown.page
    page.evaluate("scrollTo(0, 0)")
    notice = " ".join(page.locator(".notice").first.inner_text().split())
    assert notice.startswith("These are not the paper's settings")
    here, there = _energy_distances(results), _energy_distances(ROOT / "docs/paper-tier")
    for model in ("vae", "dcgan_random", "dcgan_vae", "wgan_random", "wgan_vae"):
        assert f"{TITLES[model]} {number(here[model])} ({number(there[model])})" in notice
    for part in (".notice", "#statements-title", "#statements > p", ".thumbnails img"):
        box = page.locator(part).first.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] < 800, part
    tally = page.locator("#statements > p").first.inner_text()
    total, *counts = map(int, re.findall(r"\d+", tally))
    assert total == sum(counts) == len(STATEMENTS)
    rows = page.locator(".statements tbody tr")
    assert rows.count() == len(STATEMENTS)
    if page.viewport_size == {"width": 1280, "height": 800}:
        box = rows.nth(1).bounding_box()
        assert box is not None
        assert box["y"] + box["height"] < 800
    verdicts = page.locator(".verdict").all_inner_texts()
    assert sum("here, 2 trainings" in text for text in verdicts) > 10
    effects = page.locator(".statements td:last-child > p.origin").all_inner_texts()
    assert len(effects) == sum(statement.of_tier for statement in STATEMENTS)
    assert all(re.search(r"^Effect ×.* interval ×.*; holds in [012] of 2$", e) for e in effects)
    thumbnails = page.locator(".thumbnails a").evaluate_all("all => all.map(a => a.hash)")
    assert thumbnails[:11] == [f"#{e.name}" for e in exhibits(config) if e.is_figure][:11]


def test_every_anchor_leads_somewhere_that_can_be_seen(shown: Shown, results: Path) -> None:
    hashes = shown.page.evaluate(
        "[...document.querySelectorAll('a[href^=\"#\"]')].map(a => a.getAttribute('href'))"
    )
    assert len(hashes) > 50
    heights = """ids => ids.map(id => document.querySelector(id)?.getBoundingClientRect().height)"""
    where = sorted(set(hashes))
    assert all(height and height > 20 for height in shown.page.evaluate(heights, where))
    files = shown.page.evaluate(
        '[...document.querySelectorAll(\'a:not([href^="#"], [href^="https:"])\')]'
        ".map(a => a.getAttribute('href'))"
    )
    assert {"companion.html", "tables/flows.csv", "figures/figure_08_latent.pdf"} <= set(files)
    assert all((results / file).is_file() for file in files)
    shown.page.evaluate("document.querySelector('.thumbnails a[href*=figure_08]').click()")
    shown.page.wait_for_function(
        "() => { const box = document.querySelector('#figure_08_latent').getBoundingClientRect();"
        " return box.top >= 0 && box.top < 200 }"
    )


def test_pictures_have_texts_and_figures_their_numbers_and_captions(
    shown: Shown, config: Config
) -> None:
    figures = shown.page.evaluate(
        """() => [...document.querySelectorAll('article:has(figure)')].map(a => ({
            id: a.id, heading: a.querySelector('h3, h4').innerText,
            alt: a.querySelector('img').alt, wide: a.querySelector('img').naturalWidth,
            caption: a.querySelector('figcaption').innerText,
            below: a.querySelector('figcaption').getBoundingClientRect().top
                   >= a.querySelector('img').getBoundingClientRect().bottom}))"""
    )
    names = [e.name for e in exhibits(config) if e.is_figure]
    assert [f["id"] for f in figures] == names
    labels = ["S1", *range(1, 12), *(f"S{n}" for n in range(2, 2 + len(figures)))]
    for label, figure in zip((f"Figure {n}" for n in labels), figures, strict=False):
        assert figure["heading"].startswith(label + " ")
        assert re.sub(r"\s+", " ", figure["caption"]).startswith(f"{label}. ")
        assert len(figure["alt"]) > 60, figure["id"]
        assert figure["below"]
        assert figure["wide"] == 600
    alts = shown.page.evaluate("[...document.images].map(image => image.alt)")
    assert all(alts)


def test_screen_readers_find_headings_and_landmarks(shown: Shown) -> None:
    page = shown.page
    levels = page.evaluate(
        "[...document.querySelectorAll('h1, h2, h3, h4')].map(h => Number(h.tagName[1]))"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    assert page.locator("html[lang=en]").count() == 1
    for landmark in ("header", "main", "footer"):
        assert page.locator(f"body > {landmark}").count() == 1
    assert page.locator("nav:not([aria-label])").count() == 0
    named = "sections => sections.every(s => document.getElementById(s.ariaLabelledby ?? "
    named += "s.getAttribute('aria-labelledby')))"
    assert page.locator("section, article").evaluate_all(named)
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    page.goto(page.url.split("#")[0])
    page.keyboard.press("Tab")
    page.locator(".skip:focus").wait_for()


def test_on_paper_nothing_is_folded_or_scrolls(results: Path, browser: Browser) -> None:
    page = browser.new_page(viewport={"width": 1000, "height": 800})
    page.goto((results / "report.html").as_uri())
    lengths = "[...document.querySelectorAll('details > :not(summary)')].map(e => e.clientHeight)"
    page.emulate_media(media="print", color_scheme="dark")
    assert page.locator("details").count() > 20
    assert all(page.evaluate(lengths))
    scrolling = """[...document.querySelectorAll('.scroll, pre')].filter(
        e => getComputedStyle(e).overflowX !== 'visible').length"""
    assert page.evaluate(scrolling) == 0
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    pages = re.findall(rb"/Type\s*/Page\b", page.pdf())
    assert len(pages) > 15
    page.close()


def test_it_works_in_a_frame_that_may_only_run_scripts(results: Path, browser: Browser) -> None:
    """MLflow shows an artifact in a frame like this one."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    complaints: list[str] = []
    page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    text = (results / "report.html").read_text(encoding="utf-8")
    page.evaluate(
        """text => {
            const frame = document.createElement('iframe');
            frame.sandbox = 'allow-scripts';
            frame.style = 'width: 1200px; height: 700px';
            frame.src = URL.createObjectURL(new Blob([text], {type: 'text/html'}));
            document.body.append(frame);
        }""",
        text,
    )
    frame = page.frame_locator("iframe")
    frame.locator("#provenance").wait_for(timeout=30_000)
    frame.locator(".thumbnails a[href*=figure_11]").click()
    frame.locator("#figure_11_energy_distance:focus").wait_for()
    box = frame.locator("#figure_11_energy_distance").bounding_box()
    assert box is not None
    assert 0 <= box["y"] < 300
    assert frame.locator("a:not([href^='#'], [href^='https:'])").count() == 0
    assert frame.locator("code", has_text="figure_08_latent.pdf").count() == 1
    assert complaints == []
    page.close()


def test_each_figure_is_embedded_once_and_nothing_is_fetched(source: str, config: Config) -> None:
    embedded = re.findall(r'src="(data:image/png;base64,[^"]+)"', source)
    assert len(embedded) == len(set(embedded)) == sum(e.is_figure for e in exhibits(config))
    assert not re.search(r'(?:src|@import|url\()\s*=?\s*["\']?(?:https?:)?//', source)
    assert "default-src 'none'" in source
    assert "{{" not in source


def test_every_figure_table_and_statement_says_its_file_and_rule(
    shown: Shown, results: Path, config: Config
) -> None:
    for exhibit in exhibits(config):
        text = shown.page.locator(f"[id='{exhibit.name}']").text_content() or ""
        words = " ".join(text.split())
        for file in exhibit.outputs.values():
            assert file in words, exhibit.name
        assert f"by the rule {exhibit.name} in 1.5 s" in words
        for file in (path for paths in exhibit.files.values() for path in paths):
            rule = rule_of(Tier(results), file)
            assert f"{file} (rule {rule})" in words, exhibit.name
    for row in shown.page.locator(".statements tbody tr").all():
        words = " ".join((row.locator("td").nth(1).text_content() or "").split())
        assert re.search(r"From \S+ \(rule \w+\)|Counted in the code$", words), words


def test_numbers_are_those_of_the_tables(shown: Shown, results: Path) -> None:
    generators = pd.read_csv(results / "tables/generators.csv")
    row = generators.iloc[0]
    text = shown.page.locator("#generators").text_content() or ""
    assert pm(row["energy_distance"], row["standard_error"]) in text
    histogram = shown.page.locator("#class_histograms tbody tr")
    assert histogram.count() == 10
    assert histogram.nth(3).inner_text().split("\t")[:3] == ["3", "99", "30"]
    judge = shown.page.locator("#judge details", has_text="all 29 rows")
    assert judge.count() == 1
    answers = shown.page.locator("#study-layers > .scroll tbody tr").all_inner_texts()
    study = pd.read_csv(results / "tables/study_layers.csv")
    for line, (layers, found) in zip(answers, study.groupby("num_layers"), strict=True):
        measured = [pm(found[f"flow.{m}"].mean(), found[f"flow.{m}"].std()) for m in ("kl", "nll")]
        assert re.split(r"\t", line) == ["Real NVP", str(layers), *measured]
    assert shown.page.locator("#study-layers .question").inner_text() == (
        "How many layers does Real NVP need (Section 3.2)?"
    )
    swept = shown.page.locator("#sweep-width tbody tr").all_inner_texts()
    assert [line.split("\t")[:2] for line in swept] == [
        ["VAE", "8"], ["VAE", "16"], ["WGAN from VAE", "8"], ["WGAN from VAE", "16"]
    ]  # fmt: skip
    width8 = generators[generators["model"] == "wgan_vae@width=8"]["energy_distance"]
    assert pm(width8.mean(), width8.std()) in swept[2]


def test_the_end_says_where_it_all_comes_from(shown: Shown, config: Config) -> None:
    text = shown.page.locator("#provenance").text_content() or ""
    rules = shown.page.locator("#run-times ~ details tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
    )
    for part in ("0123456789abcdef", "an abacus", "feed", "torch ", "moons 0.05", "tier: made-up"):
        assert part in text
    jobs = len(trainings(config))
    assert rules[0] == ["train", str(jobs), f"{12 * jobs}.0", "900"]
    assert shown.page.locator("a[href='companion.html']").count() == 1


def test_without_a_companion_there_is_no_link_to_it(results: Path, tmp_path: Path) -> None:
    folder = tmp_path / "results/made-up"
    shutil.copytree(results, folder)
    (folder / "companion.html").unlink()
    make_report(folder, TEMPLATES)
    assert 'href="companion.html"' not in (folder / "report.html").read_text(encoding="utf-8")


OTHER_IMAGES: dict[str, Any] = {
    "tier": "other",
    "data": {"images": {"name": "fashion-mnist"}},
    "models": {"dcgan_random": None, "dcgan_vae": None},
}


def test_captions_follow_the_data_and_the_models(tmp_path: Path) -> None:
    folder = tmp_path / "results/other"
    write_tier(folder, OTHER_IMAGES)
    captions = write_captions(Tier(folder), TEMPLATES)
    texts = {n: " ".join(f"{c.text} {c.alt}".split()) for n, c in captions.items()}
    assert (
        "images of the training data, Fashion-MNIST (right), each of 784 intensities"
        in (texts["figure_03_mnist"])
    )
    assert not [name for name, text in texts.items() if re.search(r"(?<!-)\bMNIST|digit\b", text)]
    assert "by class;" in texts["figure_08_latent"]
    assert "DCGAN 1" not in texts["figure_11_energy_distance"]
    assert re.search(r"WGAN \d+, WGAN from VAE \d+\.", texts["figure_11_energy_distance"])
    make_report(folder, TEMPLATES)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "These are not the paper's images" in page
    assert "in brackets with the paper's settings" not in page
    assert "Figure 3" in page
    assert ">classes found" in page


def test_a_study_with_more_seeds_than_the_tables_leaves_them_a_report(tmp_path: Path) -> None:
    folder = tmp_path / "results/made-up"
    write_tier(folder)
    for path in (folder / "tables").glob("*.csv"):
        table = pd.read_csv(path)
        if "seed" in table:
            table[table["seed"] == 0].to_csv(path, index=False)
    texts = {
        n: " ".join(c.text.split()) for n, c in write_captions(Tier(folder), TEMPLATES).items()
    }
    row = Tier(folder).row("vae_evidence", model="vae")
    assert pm(row["gap_mean"], row["gap_standard_error"]) in texts["vae_evidence"]
    assert not [name for name, text in texts.items() if "deviation over 2 seeds" in text]


def test_beside_means_over_seeds_a_number_of_one_has_no_error_of_another_kind(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "results/made-up"
    write_tier(folder)
    path = folder / "tables/flows.csv"
    table = pd.read_csv(path)
    kept = table[(table["model"] == "realnvp") | (table["seed"] == 0)]
    kept.to_csv(path, index=False)
    text = " ".join(write_captions(Tier(folder), TEMPLATES)["flows"].text.split())
    (row,) = kept[kept["model"] == "otflow"].to_dict("records")
    assert f"OT-Flow: {pm(row['nll'], math.nan)} nats, {pm(row['kl'], math.nan)} from" in text
    assert pm(row["nll"], row["nll_standard_error"]) not in text


@pytest.mark.parametrize(
    ("kind", "likelihood", "words"),
    [
        ("vae", "bernoulli", "The likelihood of eq. (4)"),
        ("vae", "continuous_bernoulli", "With the continuous Bernoulli"),
        ("flexible_vae", "gaussian", "With a Gaussian likelihood"),
    ],
)
def test_the_caption_of_the_evidence_names_the_likelihood(
    kind: str, likelihood: str, words: str, tmp_path: Path
) -> None:
    folder = tmp_path / "results/made-up"
    write_tier(folder, {"models": {"vae": {"kind": kind, "likelihood": likelihood}}})
    text = " ".join(write_captions(Tier(folder), TEMPLATES)["vae_evidence"].text.split())
    starts = ("The likelihood of eq. (4)", "With the continuous Ber", "With a Gaussian")
    assert [start for start in starts if start in text] == [s for s in starts if s in words]


def test_a_training_that_was_left_over_is_none_of_the_tiers(tmp_path: Path) -> None:
    folder = tmp_path / "results/made-up"
    write_tier(folder)
    tier = Tier(folder)
    assert len(tier.of_seed(7).history("wgan_vae"))
    left = folder / "models/wgan_vae/seed_9"
    shutil.copytree(folder / "models/wgan_vae/seed_7", left)
    with pytest.raises(FileNotFoundError, match="wgan_vae is not trained for seed 9"):
        tier.of_seed(9).history("wgan_vae")


def test_captions_of_figures_say_which_settings_are_not_the_papers(tmp_path: Path) -> None:
    models = yaml.safe_load((ROOT / "config/paper.yaml").read_text(encoding="utf-8"))["models"]
    for model in ("dcgan_random", "dcgan_vae"):
        models[model] |= {"steps": 1200, "average": 0.99, "evaluate_every": 7}
    write_tier(tmp_path / "results/mine", {"tier": "mine", "models": models})
    captions = write_captions(Tier(tmp_path / "results/mine"), TEMPLATES)
    said = {n: c.text.partition("Not with the paper's settings. ")[2] for n, c in captions.items()}
    text = "DCGAN and DCGAN from VAE: steps 1,200 instead of 50,000, average 0.99 instead of 0.\n"
    assert {name for name in said if said[name]} == {
        "figure_09_samples", "figure_10_interpolation", "figure_11_energy_distance"
    }  # fmt: skip
    assert said["figure_09_samples"] == text


def test_captions_name_the_colours_that_figures_have() -> None:
    def hue(colour: str) -> float:
        return 360 * colorsys.rgb_to_hsv(*to_rgb(colour))[0]

    assert 20 < hue(LATENT) < 45, "orange"
    assert 200 < hue(DATA) < 250, "blue"
    assert 140 < hue(TRUE_COLOUR) < 170, "green"
    texts = " ".join(path.read_text(encoding="utf-8") for path in TEMPLATES.glob("*.rst"))
    words = " ".join(texts.split())
    assert set(re.findall(r"(\w+) dots?\b", words)) & COLOURS == {"orange"}
    assert set(re.findall(r"(\w+) squares?\b", words)) & COLOURS == {"blue"}
    assert not re.search(r"\bred\b", words)


def test_the_papers_tier_has_no_warning_that_it_is_another(tmp_path: Path) -> None:
    write_tier(tmp_path / "results/paper", {"tier": "paper"})
    make_report(tmp_path / "results/paper", TEMPLATES)
    page = (tmp_path / "results/paper/report.html").read_text(encoding="utf-8")
    assert "not the paper's settings" not in page
    # But its settings are those of the smoke tier.
    assert re.search(r"\d+ settings differ from the tier's config file", page)
    assert "models.vae.steps: 60 instead of 46850" in page
    assert "generators that the authors published" not in page


@pytest.mark.slow
def test_with_the_papers_settings_means_stand_beside_the_published_generators(
    tmp_path: Path,
) -> None:
    paper: dict[str, Any] = {}
    for name in ("config", "paper", "replicates"):
        path = TEMPLATES.parents[1] / f"config/{name}.yaml"
        update_config(paper, yaml.safe_load(path.read_text(encoding="utf-8")))
    folder = tmp_path / "results/paper"
    write_tier(folder, paper)
    make_report(folder, TEMPLATES)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "from the tier's config file" not in page
    assert ", seeds 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 (Real NVP, OT-Flow); 0, 1, 2, 3, 4 (VAE);" in page
    published = page[page.index('id="published"') :].split("</table>")[0]
    assert published.count("<tr>") == 6
    vae = pd.read_csv(folder / "tables/generators.csv").query("model == 'vae'")
    assert len(vae) == 5
    assert f"{vae['energy_distance'].mean():.3f}" in published
    # Of the flows ten trainings count, of the GANs three, and of the DCGAN alone four.
    found = re.findall(r"Effect ×[^;]*; holds in \d+ of (\d+)<", page)
    assert Counter(found) == {"10": 7, "5": 3, "4": 1, "3": 12}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A tier that is incomplete: of its tables there is none of the generators."""
    folder = tmp_path / "results/smoke"
    write_tier(folder, {"tier": "smoke"})
    (folder / "tables/generators.csv").unlink()
    flows = pd.read_csv(folder / "tables/flows.csv")
    flows[flows["model"] != "otflow"].to_csv(folder / "tables/flows.csv", index=False)
    return folder


@pytest.fixture
def says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[Path, Path], str]:
    """What the command that the workflow calls says of a folder and one of templates."""

    def run(folder: Path, templates: Path) -> str:
        arguments = ["report", str(folder), "--templates", str(templates)]
        monkeypatch.setattr(sys, "argv", arguments)
        report.main()
        return capsys.readouterr().err

    return run


def test_what_is_not_computed_yet_is_said_to_be(small: Path) -> None:
    captions = write_captions(Tier(small), TEMPLATES)
    missing = {name for name, caption in captions.items() if caption.text == NOT_COMPUTED}
    assert missing == {
        "figure_06_otflow", "figure_09_samples", "figure_11_energy_distance", "class_histograms"
    }  # fmt: skip
    make_report(small, TEMPLATES)
    page = (small / "report.html").read_text(encoding="utf-8")
    assert "are not computed yet" in page
    assert page.count("not yet computed") > 5


@pytest.mark.parametrize(
    ("name", "slip", "said"),
    [
        ("figure_01_idea", "{{ nowhere }}", "'nowhere' is undefined"),
        ("figure_09_samples", "{{ config.evaluation.sample }}", "no attribute 'sample'"),
        ("flows", '{{ flow("realnvp").lk + 1 }}', "has no attribute 'lk'"),
        ("flows", '{{ measured("flows", "realnvp", "lk") }}', "lk"),
        ("judge", "``not closed", "cannot be shown"),
    ],
)
def test_a_slip_in_a_template_does_not_pass_for_what_is_missing(
    results: Path, tmp_path: Path, name: str, slip: str, said: str
) -> None:
    templates = tmp_path / "workflow/report"
    shutil.copytree(TEMPLATES, templates)
    with (templates / f"{name}.rst").open("a") as file:
        file.write(f"\n{slip}\n")
    with pytest.raises(Exception, match=said):
        make_report(results, templates)


def test_a_report_that_cannot_be_made_costs_one_warning(
    results: Path, tmp_path: Path, says: Callable[[Path, Path], str]
) -> None:
    said = says(results, tmp_path)
    assert said.startswith("warning: no report.html was made: ")
    assert said.count("\n") == 1
    nothing = says(tmp_path / "results/none", TEMPLATES)
    assert "results/none has no invocation.json" in nothing


def test_where_nothing_is_made_yet_there_is_no_report_and_no_warning(
    tmp_path: Path, says: Callable[[Path, Path], str]
) -> None:
    folder = tmp_path / "results/made-up"
    write_tier(folder)
    shutil.rmtree(folder / "figures")
    shutil.rmtree(folder / "tables")
    assert says(folder, TEMPLATES) == ""
    assert not (folder / "report.html").exists()


def test_columns_have_names_and_units_in_words(results: Path, config: Config) -> None:
    swept = {key for points in config.sweeps.values() for point in points for key in point.values}
    for path in results.glob("tables/*.csv"):
        table = pd.read_csv(path)
        names = {str(n).split(".", 1)[-1].removesuffix("_mean").removesuffix("_sd") for n in table}
        errors = {column.error for column in COLUMNS.values()}
        known = set(COLUMNS) | errors | swept | {n.removesuffix("_mean") for n in COLUMNS}
        assert names <= known, path.name
        assert all(label == label.strip() for label, _, _ in readable(table, TITLES).head)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (205848, "", "205,848"),
        (0.289233, "", "0.289"),
        (2.4946e-05, "", "2.5·10⁻⁵"),
        (-151.1697, "nats", "−151"),
        (1006.2, "MB", "1,006"),
        (0.0125, "%", "1.2%"),
        (1.84, "%", "184%"),
        (0.71013, "", "0.710"),
        (0.001, "", "0.001"),
        (float("nan"), "", "–"),
        (float("inf"), "nats", "∞"),
        (float("-inf"), "%", "−∞"),
        (True, "", "yes"),
        ("because", "", "because"),
    ],
)
def test_numbers_have_three_digits(value: Any, unit: str, text: str) -> None:
    assert number(value, unit) == text


def test_a_table_of_few_rows_has_its_columns_as_rows_and_each_error_beside_its_number() -> None:
    table = pd.DataFrame(
        {
            "model": ["vae"], "seed": [3], "elbo_mean": [-157.2], "elbo_standard_error": [2.8],
            "gap_mean": [6.04], "gap_standard_error": [0.52], "images": [500], "samples": [0],
            "gap_median": [2.666], "gap_largest": [104.47], "gap_smallest": [0.05],
            "log_evidence_rise_mean": [float("nan")],
        }
    )  # fmt: skip
    shown = readable(table, TITLES)
    assert [label for label, _, _ in shown.head] == ["", "VAE"]
    assert shown.rows[2:4] == [
        ["lower bound of log p(x) (ELBO), mean, nats", "−157.2 ± 2.8"],
        ["gap of log p(x) to its bound, mean, nats", "6.04 ± 0.52"],
    ]
    assert list(shown.names)[2:4] == ["elbo_mean", "gap_mean"]
    assert "log_evidence_rise_mean" not in shown.names


def test_the_rule_of_a_file_that_no_rule_makes_is_an_error(results: Path) -> None:
    with pytest.raises(ValueError, match=r"no rule makes invocation\.json"):
        rule_of(Tier(results), "invocation.json")
    assert rule_of(Tier(results), "models/wgan_vae/seed_0/history.csv") == "train_from"
    assert rule_of(Tier(results), "benchmarks/train/vae_seed_0.tsv") == "train"
    assert LAID_OVER["tier"] == Tier(results).config.tier


@pytest.mark.slow
def test_a_figure_drawn_anew_computes_no_statement_anew(results: Path, tmp_path: Path) -> None:
    """Nor does the page then import what computes them, which takes longer than all the rest."""
    folder = shutil.copytree(results, tmp_path / "results/made-up")
    code = f"""if True:
        import sys
        from pathlib import Path
        from dgmpipe.pages.report import make_report
        make_report(Path({str(folder)!r}), Path({str(TEMPLATES)!r}))
        print(sorted({{'torch', 'scipy', 'sklearn', 'matplotlib', 'mlflow'}} & sys.modules.keys()))
    """

    def imported() -> str:
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8")
        assert run.returncode == 0, run.stderr
        return run.stdout.strip()

    page = (folder / "report.html").read_text(encoding="utf-8")
    (folder / "figures/figure_04_objective.png").touch()
    assert imported() == "[]"
    assert (folder / "report.html").read_text(encoding="utf-8") == page
    (folder / "tables/flows.csv").touch()
    assert "torch" in imported()
