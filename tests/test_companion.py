"""The companion: its models compute what torch's do, and it opens wherever a reader may find it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from torch import Tensor, nn

from dgmpipe.config import read_config
from dgmpipe.data import MoonsDensity
from dgmpipe.evaluation import energy_test
from dgmpipe.evaluation.posterior import elbo, log_evidence
from dgmpipe.files import save_arrays, write_json
from dgmpipe.models import load_model
from dgmpipe.models.registry import build_model
from dgmpipe.models.storage import save_weights
from dgmpipe.pages.companion import build
from dgmpipe.pages.companion.build import companion_page
from dgmpipe.plan.companion import companion_files, companion_params

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Request

ROOT = Path(__file__).parent.parent
POINTS = 200
SMALL = {
    "realnvp": {"width": 16, "num_layers": 3},
    "otflow": {"width": 8, "evaluation_rk4_steps": 4},
    # A width that is no multiple of four, which the page's loops take at once.
    **{name: {"width": 6} for name in ("vae", "dcgan_random", "dcgan_vae")},
    "wgan_random": {"width": 6, "latent_dim": 3},
    "wgan_vae": {"width": 6},
    "classifier": {"width": 6},
}
ADDED = {
    "standardised": {"kind": "realnvp", "steps": 1, "learning_rate": 0.1, "standardised": True}
    | SMALL["realnvp"],
    "continuous": {"kind": "vae", "steps": 1, "likelihood": "continuous_bernoulli", "width": 6},
}

OWN_MEAN, OWN_DEVIATION = torch.tensor([1000.0, 0.02]), torch.tensor([50.0, 0.5])


def _randomise(network: nn.Module) -> None:
    """Give a network such weights as a training may, batch norms and all."""
    for name, tensor in network.state_dict().items():
        if name.endswith(("running_var", "deviation")):
            tensor.uniform_(0.5, 2)
        elif tensor.is_floating_point():
            tensor.mul_(1.5).add_(0.1 * torch.randn_like(tensor))


def _snapshots(kind: str, settings: dict[str, Any], count: int) -> dict[str, np.ndarray]:
    """Return snapshots after steps 0, 10, ..., each of other values, as a training leaves them."""
    random = np.random.default_rng(count)
    steps = 10 * np.arange(count)
    if count == 0 or kind == "classifier":
        return {"steps": steps[:0], "samples": np.empty(0, np.float32)}
    if kind in ("realnvp", "otflow"):
        return {"steps": steps, "samples": random.normal(0, 2, (count, 30, 2)).astype(np.float32)}
    channels, height, width = settings.get("image_shape", (1, 28, 28))
    shape = (count, 9, *(() if channels == 1 else (channels,)), height, width)
    return {"steps": steps, "samples": random.integers(0, 256, shape, dtype=np.uint8)}


def _tier(
    folder: Path,
    image_folder: Path,
    names: list[str],
    *,
    seeds: tuple[int, ...] = (0,),
    small: bool = True,
    snapshots: int = 4,
    **more: Any,
) -> str:
    """Leave what a tier of untrained models would leave, and return its companion."""
    written = yaml.safe_load((ROOT / "config/smoke.yaml").read_text(encoding="utf-8"))
    known = {n: written["models"][n] | (SMALL[n] if small else {}) for n in names if n in SMALL}
    written["models"] = known | {n: ADDED[n] for n in names if n in ADDED}
    written["seeds"] = list(seeds)
    config = read_config(written)
    torch.manual_seed(0)
    for model, settings in config.models.items():
        hyperparameters = settings.model_dump() | more
        for seed in seeds:
            network = build_model(settings.kind, hyperparameters)
            _randomise(network)
            if model == "own":
                network.mean.copy_(OWN_MEAN)
                network.deviation.copy_(OWN_DEVIATION)
            at = folder / f"models/{model}/seed_{seed}"
            save_weights(network, at / "model.safetensors")
            parameters = sum(p.numel() for p in network.parameters())
            about = {"kind": settings.kind, "seed": seed, "parameters": parameters}
            write_json(about | {"hyperparameters": hyperparameters}, at / "summary.json")
            metric = "energy_distance" if "gan" in model else "loss"
            rows = [{"step": s, metric: 9 / (s + seed + 1)} for s in range(0, 50, 10)]
            pd.DataFrame(rows).to_csv(at / "history.csv", index=False)
            save_arrays(at / "snapshots.npz", _snapshots(settings.kind, more, snapshots))
    files = {n: [folder / p for p in paths] for n, paths in companion_files(config).items()}
    files["images"] = sorted(image_folder.iterdir())
    for path in files["evidence"]:
        path.parent.mkdir(parents=True, exist_ok=True)
        columns = {"index": [0, 3], "log_evidence": [-100.0, -90.0], "elbo": [-103.0, -91.0]}
        pd.DataFrame(columns).to_csv(path, index=False)
    if files["generators"]:
        (folder / "tables").mkdir()
        rows = [{"model": m, "seed": 0, "energy_distance": 0.5} for m in (*known, "real")]
        pd.DataFrame(rows).to_csv(files["generators"][0], index=False)
    if files["inverse_errors"]:
        (folder / "tables").mkdir(exist_ok=True)
        row = {"model": "otflow", "seed": 0, "rk4_steps": 4, "inverse_error_double": 1e-3}
        pd.DataFrame([row]).to_csv(files["inverse_errors"][0], index=False)
    if files["floor"]:
        save_arrays(files["floor"][0], {"energy_distances": np.linspace(0.001, 0.002, 20)})
    return companion_page(files, **companion_params(config))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, image_folder: Path) -> Path:
    """A tier with every model that the page has code for, and its `companion.html`."""
    folder = tmp_path_factory.mktemp("tier")
    page = _tier(folder, image_folder, [*SMALL, *ADDED], seeds=(0, 1))
    (folder / "companion.html").write_text(page, encoding="utf-8")
    return folder


class Watched:
    """A page, and what it asked for and complained about."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.on("request", self._note)
        page.on("console", lambda m: self.complaints.append(m.text) if m.type != "log" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _note(self, request: Request) -> None:
        if not request.url.startswith("data:"):
            self.requests.append(request.url)

    def open(self, url: str) -> None:
        self.page.goto(url)
        self.page.wait_for_selector("html[data-ready]", state="attached")


def _watched(browser: Browser, width: int = 1280, scheme: Any = "light") -> Iterator[Watched]:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.set_default_timeout(60_000)
    yield Watched(page)
    page.close()


@pytest.fixture(scope="module")
def opened(browser: Browser, folder: Path) -> Iterator[Page]:
    """The page, for tests that only ask its models."""
    for watched in _watched(browser):
        watched.open((folder / "companion.html").as_uri())
        yield watched.page


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    yield from _watched(browser)


def _ask(page: Page, model: str, call: str, points: Tensor) -> np.ndarray:
    """Return what a function of a model in the page makes of each of the points."""
    script = f"points => points.map(p => {{ const m = window.dgmpipe.models[{model!r}]; {call} }})"
    return np.array(page.evaluate(script, points.double().flatten(1).tolist()))


def _assert_agrees(found: np.ndarray, expected: Tensor) -> None:
    """Assert agreement to 1e-5, of values above 1 relative to them."""
    assert found.shape == tuple(expected.flatten(1).shape if expected.ndim > 1 else expected.shape)
    np.testing.assert_allclose(
        found, expected.flatten(1) if expected.ndim > 1 else expected, 1e-5, 1e-5
    )


@torch.no_grad()
@pytest.mark.parametrize(
    "model", ["vae", "continuous", "dcgan_random", "dcgan_vae", "wgan_random", "wgan_vae"]
)
def test_generators_agree_with_torch(opened: Page, folder: Path, model: str) -> None:
    generator = load_model(folder / f"models/{model}/seed_0").generator
    z = torch.randn(POINTS, generator.latent_dim)
    _assert_agrees(_ask(opened, model, "return [...m.image(p)]", z), generator(z))
    _assert_agrees(_ask(opened, model, "return [...m.logits(p)]", z), generator.logits(z))


@torch.no_grad()
@pytest.mark.parametrize("model", ["vae", "continuous"])
def test_encoders_agree_with_torch(opened: Page, folder: Path, images: Tensor, model: str) -> None:
    x = images[:POINTS, None] / 255
    posterior = load_model(folder / f"models/{model}/seed_0").encoder(x)
    call = "const e = m.encode(p); return [...e.mean, ...e.logVariance]"
    expected = torch.cat([posterior.mean, posterior.log_variance], dim=1)
    _assert_agrees(_ask(opened, model, call, x), expected)


@torch.no_grad()
def test_the_judge_agrees_with_torch(opened: Page, folder: Path, images: Tensor) -> None:
    x = images[:POINTS, None] / 255
    judge = load_model(folder / "models/classifier/seed_0")
    _assert_agrees(_ask(opened, "classifier", "return [...m.judge(p)]", x), judge(x))


@torch.no_grad()
@pytest.mark.parametrize("model", ["realnvp", "otflow", "standardised"])
@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_flows_agree_with_torch(opened: Page, folder: Path, model: str, direction: str) -> None:
    flow = load_model(folder / f"models/{model}/seed_0")
    points = torch.randn(POINTS, 2)
    end, log_det = getattr(flow, direction)(points)
    call = f"const e = m.flow.{direction}(p); return [...e.point, e.logDet]"
    _assert_agrees(_ask(opened, model, call, points), torch.cat([end, log_det[:, None]], dim=1))
    if direction == "forward":
        states = flow.hidden_states(points).transpose(0, 1)
        _assert_agrees(_ask(opened, model, "return m.flow.states(p).flat()", points), states)
    else:
        _assert_agrees(
            _ask(opened, model, "return m.flow.logProb(p)", points), flow.log_prob(points)
        )


def test_the_planes_of_a_flow_of_other_data_are_where_these_are(
    watched: Watched, image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = OWN_MEAN + OWN_DEVIATION * torch.randn(400, 2)
    np.savetxt(tmp_path / "points.csv", points, delimiter=",")
    own = ADDED["standardised"] | {"data": str(tmp_path / "points.csv")}
    monkeypatch.setitem(ADDED, "own", own)
    page_file = tmp_path / "page.html"
    page_file.write_text(_tier(tmp_path, image_folder, ["realnvp", "own"]), encoding="utf-8")
    watched.open(page_file.as_uri())
    page, part = watched.page, watched.page.locator("#flows")

    def probe(flow: str) -> list[float]:
        part.locator("[data-name=flow]").select_option(flow)
        title = {"own": "own", "realnvp": "Real NVP"}[flow]
        shown = part.locator("[data-name=shown]")
        page.wait_for_function(
            """title => ["shown", "progress"]
                .map((name) => document.querySelector(`#flows [data-name=${name}]`).textContent)
                .every((text, k) => (k ? text === "" : text.startsWith(title)))""",
            arg=title,
        )
        found = re.search(r"at x = \((.*?), (.*?)\)", shown.text_content() or "")
        return [float(number.replace("\u2212", "-")) for number in found.groups()]

    part.scroll_into_view_if_needed()
    assert probe("realnvp") == [0, 1]
    x, y = probe("own")
    assert abs(x - 1000) < 300
    assert abs(y) < 3
    colours = """canvas => {
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return new Set(new Uint32Array(data.buffer)).size;
    }"""
    plane = part.locator("[data-name=density-plane]")
    assert plane.locator("canvas").evaluate(colours) > 50
    plane.locator(".u-over").press("ArrowRight")
    assert 1 < probe("own")[0] - x < 50
    assert probe("realnvp") != [x, y]
    assert max(map(abs, probe("realnvp"))) < 3
    assert watched.complaints == []


def test_the_moons_agree_with_torch(opened: Page) -> None:
    x = torch.rand(POINTS, 2).double() * torch.tensor([4.0, 3.0]) - torch.tensor([1.5, 1.0])
    found = opened.evaluate("points => points.map(p => dgmpipe.moonsLogProb(p, 0.05))", x.tolist())
    np.testing.assert_allclose(found, MoonsDensity(0.05).log_prob(x), 1e-5, 1e-5)


def test_the_energy_test_agrees_with_torch(opened: Page) -> None:
    points = torch.randn(POINTS, 3)
    first = torch.randperm(POINTS)[: POINTS // 4].tolist()
    rest = [i for i in range(POINTS) if i not in first]
    expected = energy_test(points[first], points[rest], num_permutations=1)
    found = opened.evaluate(
        "([p, first]) => dgmpipe.statistics(p, first)", [points.tolist(), first]
    )
    assert found["statistic"] == pytest.approx(expected.statistic, rel=1e-9)
    assert found["unbiased"] == pytest.approx(expected.energy_distance, rel=1e-9)


def test_the_permutations_agree_with_torch(opened: Page) -> None:
    x, y = torch.randn(30, 2), torch.randn(40, 2) + torch.tensor([0.3, 0])
    expected = energy_test(x, y, num_permutations=2000)
    found = opened.evaluate("([x, y]) => dgmpipe.energyTest(x, y, 2000)", [x.tolist(), y.tolist()])
    assert found["statistic"] == pytest.approx(expected.statistic, rel=1e-9)
    error = (expected.pvalue * (1 - expected.pvalue) / 2000) ** 0.5
    assert found["pvalue"] == pytest.approx(expected.pvalue, abs=6 * error)
    quantiles = np.linspace(0.1, 0.9, 9)
    ours, theirs = (np.quantile(n, quantiles) for n in (found["nulls"], expected.null_distribution))
    np.testing.assert_allclose(ours, theirs, rtol=0.15)


@pytest.mark.parametrize("model", ["vae", "continuous"])
def test_the_evidence_of_an_image_agrees_with_the_quadrature(
    watched: Watched, folder: Path, images: Tensor, model: str
) -> None:
    page = watched.page
    watched.open((folder / "companion.html").as_uri() + f"#posterior?vae={model}&image=3")
    page.wait_for_function("() => dgmpipe.posterior.found()?.elbo")
    found = page.evaluate("() => dgmpipe.posterior.found()")
    vae = load_model(folder / f"models/{model}/seed_0")
    x = images[3:4, None] / 255
    exact, _ = log_evidence(vae, x, limit=5, resolution=300)
    assert found["evidence"] == pytest.approx(exact.value.item(), abs=0.02 + found["evidenceError"])
    assert found["elbo"] == pytest.approx(elbo(vae, x).value.item(), abs=1e-2)
    text = page.locator("#posterior [data-name=shown]").text_content()
    assert text.startswith("Test image 3, a ")
    assert "−90.00" in page.locator("#posterior [data-name=numbers]").text_content()


def test_a_drawing_has_an_evidence_too(watched: Watched, folder: Path) -> None:
    page = watched.page
    watched.open((folder / "companion.html").as_uri() + "#posterior")
    page.get_by_label("close-up of the posterior").check()  # before there is one
    page.wait_for_function("() => dgmpipe.posterior.found()?.elbo")
    page.get_by_role("button", name="Clear, to draw").click()
    box = page.locator("[data-name=drawing]").bounding_box()
    page.mouse.move(box["x"] + 40, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 50, box["y"] + 90)
    page.mouse.up()
    page.wait_for_function("() => dgmpipe.posterior.found()?.elbo")
    assert page.locator("#posterior [data-name=shown]").text_content().startswith("Your drawing")
    page.wait_for_function("() => location.hash.includes('drawing=')")
    drawn = page.locator("#posterior [data-name=shown]").text_content().split(". ")[1]
    page.reload()
    page.wait_for_function("() => window.dgmpipe?.posterior.found()?.elbo")
    assert drawn.split(";")[1] in page.locator("#posterior [data-name=shown]").text_content()
    assert watched.complaints == []


@pytest.mark.parametrize(("width", "scheme"), [(400, "dark"), (1280, "light")])
def test_it_fits_and_asks_for_nothing(
    browser: Browser, folder: Path, width: int, scheme: str
) -> None:
    for watched in _watched(browser, width, scheme):
        address = (folder / "companion.html").as_uri()
        watched.open(address)
        page = watched.page
        for part in ("explorer", "posterior", "flows", "energy", "training"):
            page.evaluate(f"document.getElementById('{part}').scrollIntoView()")
            page.wait_for_function(
                f"document.querySelector('#{part} [data-name=shown]').textContent.length > 20"
            )
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert watched.requests == [address]
        assert watched.complaints == []


def test_it_opens_in_a_sandboxed_frame(watched: Watched, folder: Path) -> None:
    """As a Snakemake report shows it, by a data URI, and as MLflow does, with scripts only."""
    page = watched.page
    encoded = base64.b64encode((folder / "companion.html").read_bytes()).decode()
    source = f"data:text/html;base64,{encoded}"
    page.set_content(f'<iframe sandbox="allow-scripts" width=1200 height=800 src="{source}">')
    inside = page.frame_locator("iframe")
    inside.locator("html[data-ready]").wait_for(state="attached")
    inside.locator("#explorer .u-over").press("ArrowRight")
    said = inside.locator("#explorer [data-name=shown]")
    said.filter(has_text="z = (0.60, −0.50)").wait_for()
    link = inside.locator("#explorer [data-name=permalink]")
    assert "z=0.60%2C-0.50" in link.get_attribute("href")
    assert inside.locator("a.report").count() == 0
    page.wait_for_timeout(500)  # when the address would change, which a sandbox may refuse
    assert watched.requests == []
    assert watched.complaints == []


def test_a_permalink_leads_back(watched: Watched, folder: Path) -> None:
    page, address = watched.page, (folder / "companion.html").as_uri()
    watched.open(address + "#explorer?z=1.25,-2&line=1&samples=3")
    said = page.locator("#explorer [data-name=shown]")
    said.filter(has_text="z = (1.25, −2.00)").wait_for()
    assert page.locator("#explorer [data-name=line]").is_checked()
    page.locator("#explorer .u-over").press("Shift+ArrowUp")
    page.wait_for_function("location.hash.includes('-1.99') && location.hash.includes('samples=3')")
    page.reload()
    page.locator("#explorer [data-name=shown]").filter(has_text="z = (1.25, −1.99)").wait_for()


def test_a_frame_draws_each_generator_once(opened: Page) -> None:
    """However often a pointer moves, so that the time of a frame is that of five images."""
    before = opened.evaluate("() => ({...dgmpipe.work})")
    opened.evaluate(
        """() => new Promise(done => {
            for (let k = 0; k < 50; k++) dgmpipe.explorer.moveTo([k / 50, 0]);
            requestAnimationFrame(() => requestAnimationFrame(done));
        })"""
    )
    after = opened.evaluate("() => ({...dgmpipe.work})")
    assert after["frames"] - before["frames"] == 1
    assert after["images"] - before["images"] == 6
    assert opened.evaluate("() => dgmpipe.benchmark(5)") > 0


def test_every_control_has_a_name(opened: Page) -> None:
    nameless = opened.evaluate(
        """() => [...document.querySelectorAll("input, select, button, [role=application]")]
            .filter((e) => !(e.getAttribute("aria-label") ?? e.textContent.trim())
                && ![...(e.labels ?? [])].some((label) => label.textContent.trim()))
            .map((e) => e.outerHTML)"""
    )
    assert nameless == []


def test_arrow_keys_go_through_the_test_images(opened: Page) -> None:
    images = opened.locator("#posterior [data-name=thumbnails] button")
    assert images.evaluate_all("all => all.filter(e => e.tabIndex === 0).length") == 1
    images.nth(0).press("ArrowRight")
    images.nth(1).press("Enter")
    pressed = images.nth(1).and_(opened.locator("[aria-pressed=true]"))
    pressed.wait_for()  # a page may answer a key after who pressed it goes on
    assert images.evaluate_all("all => all.findIndex(e => e.tabIndex === 0)") == 1


def test_what_is_chosen_before_it_is_seen_stays_chosen(watched: Watched, folder: Path) -> None:
    page = watched.page
    watched.open((folder / "companion.html").as_uri())
    page.evaluate("() => dgmpipe.posterior.choose(2)")
    page.locator("#posterior").scroll_into_view_if_needed()
    page.wait_for_function("() => dgmpipe.posterior.found()?.elbo")
    chosen = page.locator("#posterior [data-name=thumbnails] button").nth(2)
    assert chosen.get_attribute("aria-pressed") == "true"
    assert page.locator("#posterior [data-name=shown]").text_content().startswith("Test image")


def test_on_paper_it_is_light(opened: Page) -> None:
    picture = "document.querySelector('#explorer canvas').toDataURL()"
    light = opened.evaluate(picture)
    opened.emulate_media(color_scheme="dark")
    opened.wait_for_function(f"light => {picture} !== light", arg=light)
    opened.emulate_media(media="print")
    opened.wait_for_function(f"light => {picture} === light", arg=light)
    assert opened.locator("nav").is_hidden()
    opened.emulate_media(media="screen", color_scheme="light")


def test_touch_drags_the_point(browser: Browser, folder: Path) -> None:
    context = browser.new_context(has_touch=True, viewport={"width": 400, "height": 800})
    page = context.new_page()
    page.goto((folder / "companion.html").as_uri())
    page.wait_for_selector("html[data-ready]", state="attached")
    over = page.locator("#explorer .u-over")
    over.scroll_into_view_if_needed()
    over.tap(position={"x": 1, "y": 1})
    page.locator("#explorer [data-name=shown]").filter(has_text="z = (−3.9").wait_for()
    context.close()


def test_samples_at_steps_of_the_training(watched: Watched, folder: Path) -> None:
    page, part = watched.page, "#training [data-name={}]"
    watched.open((folder / "companion.html").as_uri() + "#training?metric=gan.energy_distance")
    slider, label = (
        page.locator(part.format("snapshot")),
        page.locator(part.format("snapshot-label")),
    )
    kept = {
        model: np.load(folder / f"models/{model}/seed_0/snapshots.npz")["samples"]
        for model in ("vae", "wgan_vae", "realnvp")
    }
    for model, samples in kept.items():
        found = page.evaluate(
            "m => dgmpipe.header.snapshots.find(s => s.model === m).samples"
            ".map(frame => frame.map(one => [...one]))",
            model,
        )
        images = samples.dtype == np.uint8
        expected = samples.reshape(4, 9, -1) / 255 if images else samples
        error = 0.5 / 9 if images else np.ptp(samples) / 4095
        np.testing.assert_allclose(found, expected, rtol=0, atol=1.01 * error)

    def drawn() -> list[str]:
        script = "() => [...document.querySelectorAll('#training canvas')].map(c => c.toDataURL())"
        return page.evaluate(script)

    assert label.text_content() == "3 of 3, at 100% of the steps"
    page.wait_for_function("document.querySelectorAll('#training canvas').length === 1 + 6 + 3")
    last = drawn()
    slider.press("Home")
    label.filter(has_text="0 of 3, at 0% of the steps").wait_for()
    page.locator(part.format("shown")).filter(has_text="VAE after step 0, ").wait_for()
    page.get_by_label("9 images by VAE, step 0 of 30, loss of the batches 9").wait_for()
    first = drawn()
    assert all(a != b for a, b in zip(first, last, strict=True))  # the curves are marked as well
    slider.press("ArrowRight")
    page.get_by_label("9 images by VAE, step 10 of 30, loss of the batches 0.818").wait_for()
    pixels = page.evaluate(
        "() => { const c = document.querySelector('#training [data-name=sheets] canvas');"
        " return [...c.getContext('2d').getImageData(0, 0, 28, 28).data] }"
    )
    pixels = np.array(pixels).reshape(28, 28, 4)[..., 0]
    assert np.abs(pixels - kept["vae"][1, 0].astype(int)).max() <= 15  # half of a grey level
    slider.press("Space")
    page.locator(part.format("play")).filter(has_text="Pause").wait_for()
    label.filter(has_text="3 of 3").wait_for()
    page.locator(part.format("play")).filter(has_text="Play").wait_for()
    page.wait_for_function("location.hash.includes('samples=3')")
    page.reload()
    page.wait_for_selector("html[data-ready]", state="attached")
    # At the end it plays from the beginning; twice at once, so that no frame goes by in between.
    found = page.evaluate(
        """() => {
            const [play, label] = ["play", "snapshot-label"].map(
                (name) => document.querySelector(`#training [data-name="${name}"]`));
            return [0, 1].map(() => (play.click(), [play.textContent, label.textContent]));
        }"""
    )
    assert found == [
        ["Pause", "0 of 3, at 0% of the steps"],
        ["Play", "0 of 3, at 0% of the steps"],
    ]
    assert watched.complaints == []


def test_a_tier_without_samples_says_so(
    watched: Watched, tmp_path: Path, image_folder: Path
) -> None:
    page = _tier(tmp_path, image_folder, ["vae", "realnvp"], snapshots=0)
    (tmp_path / "companion.html").write_text(page, encoding="utf-8")
    watched.open((tmp_path / "companion.html").as_uri())
    watched.page.get_by_text("trainings of this tier kept no samples").wait_for()
    assert watched.page.locator("#training [data-name=scrubber]").is_hidden()
    assert watched.complaints == []


def test_it_says_what_a_tier_lacks(
    watched: Watched, tmp_path: Path, image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = _tier(tmp_path, image_folder, ["wgan_random"])
    (tmp_path / "companion.html").write_text(page, encoding="utf-8")
    watched.open((tmp_path / "companion.html").as_uri())
    for part, words in {"posterior": "no VAE with two latent", "flows": "no flow"}.items():
        watched.page.locator(f"#{part} .missing").filter(has_text=words).wait_for()
    watched.page.get_by_text("slice of 3 dimensions").wait_for()
    assert watched.complaints == []


def _header(page: str) -> dict[str, Any]:
    return json.loads(re.search(r'id="header">(.*?)</script>', page)[1])


def test_the_paper_s_models_have_a_place(tmp_path: Path, image_folder: Path) -> None:
    names = ["realnvp", "otflow", "vae", "dcgan_random", "dcgan_vae", "wgan_random", "wgan_vae"]
    page = _tier(tmp_path, image_folder, [*names, "classifier"], small=False)
    assert len(page.encode()) < 3_000_000
    assert len(_header(page)["models"]) == 8
    assert _header(page)["leftOut"] == []


@pytest.mark.parametrize(
    ("snapshots", "left_out"), [(0, "classifier"), (4, "samples in training, Real NVP")]
)
def test_what_has_no_place_is_named(
    tmp_path: Path,
    image_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    snapshots: int,
    left_out: str,
) -> None:
    """The weights of the judge are the last to get a place, and samples come after all weights."""
    names = ["vae", "realnvp", "classifier"]
    page = _tier(tmp_path / "all", image_folder, names, snapshots=snapshots)
    assert _header(page)["leftOut"] == []
    monkeypatch.setattr(build, "_LIMIT", len(page.encode()) - 1)
    header = _header(_tier(tmp_path / "less", image_folder, names, snapshots=snapshots))
    assert header["leftOut"] == [f"{left_out}: with it, the page would be above 3 MB"]
    kept = [[m["name"] for m in header["models"]], [s["model"] for s in header["snapshots"]]]
    assert kept == ([["vae", "realnvp"], []] if snapshots == 0 else [names, ["vae"]])


@torch.no_grad()
def test_coloured_images(watched: Watched, tmp_path: Path) -> None:
    images = tmp_path / "images"
    pixels = np.random.default_rng(0).integers(0, 256, (30, 3, 12, 8), dtype=np.uint8)
    save_arrays(images / "images.npz", {"train_images": pixels, "t10k_images": pixels})
    page = _tier(tmp_path / "tier", images, ["vae", "realnvp"], image_shape=[3, 12, 8])
    (tmp_path / "companion.html").write_text(page, encoding="utf-8")
    watched.open((tmp_path / "companion.html").as_uri() + "#posterior")
    vae = load_model(tmp_path / "tier/models/vae/seed_0")
    z, x = torch.randn(POINTS, 2), torch.from_numpy(pixels) / 255
    _assert_agrees(_ask(watched.page, "vae", "return [...m.image(p)]", z), vae.generator(z))
    found = _ask(watched.page, "vae", "return [...m.encode(p).mean]", x)
    _assert_agrees(found, vae.encoder(x).mean)
    watched.page.wait_for_function("() => dgmpipe.posterior.found()?.elbo")
    assert watched.complaints == []


def test_the_library_is_the_released_one() -> None:
    """What the archive uplot-1.6.32.tgz of the registry npm has in its folder dist."""
    vendor = ROOT / "src/dgmpipe/pages/companion/vendor"
    digests = {
        "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
        "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
    }
    for name, digest in digests.items():
        assert hashlib.sha256((vendor / name).read_bytes()).hexdigest() == digest
    assert "MIT" in (vendor / "uPlot.LICENSE").read_text(encoding="utf-8")
