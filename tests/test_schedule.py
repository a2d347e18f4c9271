"""What an invocation will do and how long that takes, and what it came to."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from dgmpipe.config import Config, read_config
from dgmpipe.plan.exhibits import exhibits
from dgmpipe.plan.schedule import DATA, EVALUATIONS, EXHIBITS, TRAININGS, Plan, Schedule, time_left
from dgmpipe.plan.summary import main_numbers, summary
from dgmpipe.plan.trainings import training_seconds

WRITTEN = yaml.safe_load((Path(__file__).parent.parent / "config/smoke.yaml").read_text())


@pytest.fixture
def config() -> Config:
    return read_config(WRITTEN)


def two_seeds() -> Config:
    return read_config({**WRITTEN, "seeds": [0, 1]})


# --- the schedule --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "wildcards", "stage", "label"),
    [
        ("fetch_images", {}, DATA, "fetch images"),
        ("train_from", {"model": "wgan_vae", "seed": "0"}, TRAININGS, "WGAN from VAE"),
        ("train_from_2", {"model": "wgan_vae", "seed": "0"}, TRAININGS, "WGAN from VAE"),
        ("energy_floor", {}, EVALUATIONS, "energy floor"),
        ("energy_test", {"model": "real", "seed": "0"}, EVALUATIONS, "energy test, real images"),
        ("training_times", {}, EXHIBITS, "Time and memory of the trainings"),
        ("figure_of_model", {"figure": "flow", "model": "vae"}, EXHIBITS, "figure of model, VAE"),
    ],
)
def test_a_job_has_a_stage_and_a_name(
    config: Config, tmp_path: Path, rule: str, wildcards: dict[str, str], stage: str, label: str
) -> None:
    job = Schedule(config, tmp_path).job(1, rule, wildcards)
    assert job is not None
    assert (job.stage, job.label) == (stage, label)
    assert job.seconds > 0


def test_a_rule_that_only_names_files_is_no_job(config: Config, tmp_path: Path) -> None:
    schedule = Schedule(config, tmp_path)
    assert [schedule.job(1, rule, {}) for rule in ("all", "trainings", "study")] == [None] * 3


def test_times_of_a_rule_are_read_once_for_all_its_jobs(config: Config, tmp_path: Path) -> None:
    measured = tmp_path / "smoke/benchmarks/evidence/vae_seed_0.tsv"
    measured.parent.mkdir(parents=True)
    measured.write_text("s\tcpu_time\n7.5\t1\n", encoding="utf-8")
    schedule, seconds = Schedule(config, tmp_path), []
    for number in range(2):
        job = schedule.job(number, "evidence", {"model": "vae", "seed": str(number)})
        assert job is not None
        seconds.append(job.seconds)
        measured.unlink(missing_ok=True)
    assert seconds == [7.5, 7.5]


def test_of_several_seeds_each_is_named(tmp_path: Path) -> None:
    job = Schedule(two_seeds(), tmp_path).job(1, "train", {"model": "vae", "seed": "1"})
    assert job is not None
    assert job.label == "VAE, seed 1"


def test_what_a_rule_took_before_is_expected_again(config: Config, tmp_path: Path) -> None:
    folder = tmp_path / "smoke/benchmarks/energy_test"
    folder.mkdir(parents=True)
    for model, seconds in (("vae", "30.0"), ("real", "50.0"), ("short", "NA")):
        (folder / f"{model}_seed_0.tsv").write_text(f"s\tcpu_time\n{seconds}\t1\n")
    schedule = Schedule(config, tmp_path)
    test = schedule.job(1, "energy_test", {"model": "wgan_vae", "seed": "0"})
    training = schedule.job(2, "train", {"model": "vae", "seed": "0"})
    assert test is not None
    assert training is not None
    assert test.seconds == 40
    assert training.seconds == training_seconds(config, tmp_path)["vae"]


def test_of_what_is_drawn_in_a_fork_the_time_counts(config: Config, tmp_path: Path) -> None:
    folder = tmp_path / "smoke/benchmarks"
    folder.mkdir(parents=True)
    (folder / "flows.tsv").write_text("s\tcpu_time\n2.5\t0.1\n")
    table = Schedule(config, tmp_path).job(1, "flows", {})
    assert table is not None
    assert table.seconds == 2.5


def test_a_plan_says_how_much_there_is_to_train(config: Config, tmp_path: Path) -> None:
    schedule = Schedule(config, tmp_path)

    def plan(*rules: str, stands: bool = False) -> Plan:
        found = [
            schedule.job(n, rule, {"model": "vae", "seed": "0"}, stands=stands)
            for n, rule in enumerate(rules)
        ]
        return Plan("smoke", {job.number: job for job in found if job})

    assert plan("train", "train", "flows").sentence() == (
        "2 trainings, about 0.0 core hours without evaluations; 3 jobs in all"
    )
    assert plan("flows").sentence() == "1 job, none of them a training"
    assert plan("flows", "figure_02_moons").only_draws
    assert not plan("flows", "evidence").only_draws
    assert not plan("train").only_draws
    assert plan("train", stands=True).only_draws


def test_a_released_training_is_a_job_and_no_training(tmp_path: Path) -> None:
    schedule = Schedule(two_seeds(), tmp_path, {("vae", 0)})
    found = [schedule.job(n, "train", {"model": "vae", "seed": str(n)}) for n in (0, 1)]
    jobs = {job.number: job for job in found if job}
    assert [job.copied for job in jobs.values()] == [True, False]
    assert Plan("smoke", {0: jobs[0]}).sentence() == "1 job, none of them a training"
    assert Plan("smoke", jobs).sentence().startswith("1 training, about 0.0 core hours")


def test_gpus_limit_trainings_and_nothing_else() -> None:
    waiting = dict.fromkeys(range(6), 10.0)

    def left(limit: int | None) -> float:
        return time_left({}, waiting, {}, 6, limited=range(4), limit=limit)

    assert left(None) == 10
    assert left(2) == 20
    assert left(1) == 40


def test_a_chain_takes_as_long_as_its_parts() -> None:
    after = {n: {n - 1} for n in range(1, 4)}
    assert time_left({0: 3}, {1: 5, 2: 7, 3: 11}, after, slots=4) == 26


def test_thousands_of_jobs_are_estimated_at_once() -> None:
    waiting = {n: 1.0 for n in range(5000)}
    assert (
        time_left({}, waiting, {n: {n // 2} for n in range(1, 5000)}, slots=100) == 57
    )  # 8 to fill them


# --- the summary ---------------------------------------------------------------------------------

Write = Callable[[str, str], None]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, content: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    return write


GENERATORS = """model,seed,energy_distance,standard_error,rejected,rejected_standard_error
vae,0,0.8173,0.0222,0.2569,0.0047
real,0,0.0027,0.0055,0.0097,0.0009
"""


def test_the_summary_has_numbers_with_errors_and_paths(
    config: Config, tmp_path: Path, write: Write
) -> None:
    write("tables/generators.csv", GENERATORS)
    write("figures/figure_02_moons.png", "")
    write("report.html", "")
    text = summary(config, tmp_path, exhibits(config))
    heading, vae, real = text.splitlines()[1:4]
    assert heading.split("  ")[0] == "generators"
    assert heading.endswith("energy distance to test images   share without a digit")
    assert vae.split("  ")[1] == "VAE"
    assert vae.endswith("0.817 ± 0.022         0.2569 ± 0.0047")
    assert real.strip().startswith("real images")
    assert f"figures\n  {tmp_path}/figures/figure_02_moons.png\n" in text
    assert f"tables\n  {tmp_path}/tables (1)\nreport\n  {tmp_path}/report.html" in text


def test_several_seeds_are_summed_up_by_mean_and_deviation(tmp_path: Path, write: Write) -> None:
    rows = "model,seed,nll,nll_standard_error,kl,kl_standard_error\n"
    write("tables/flows.csv", f"{rows}realnvp,0,0.30,0.01,,\nrealnvp,1,0.34,0.01,,\n")
    text = summary(two_seeds(), tmp_path, [])
    assert "flows, mean ± deviation of 2 seeds" in text
    assert "0.320 ± 0.028" in text
    assert "nats from the true density" not in text, "of points of one's own there is no truth"


def test_beside_means_over_seeds_a_number_of_one_has_no_error_of_another_kind(
    tmp_path: Path, write: Write
) -> None:
    rows = "model,seed,energy_distance,standard_error\nvae,0,0.30,0.01\nvae,1,0.34,0.01\n"
    write("tables/generators.csv", f"{rows}wgan_vae,0,0.1,0.02\n")
    text = summary(two_seeds(), tmp_path, [])
    assert "generators, mean ± deviation of 1 to 2 seeds" in text
    assert "0.320 ± 0.028" in text
    assert [line.split()[-1] for line in text.splitlines() if "WGAN" in line] == ["0.1"]


def test_points_of_sweeps_are_numbers_but_not_in_the_summary(
    config: Config, tmp_path: Path, write: Write
) -> None:
    write("tables/generators.csv", GENERATORS + "vae@width=8,0,0.9,0.1,0.5,0.1\n")
    assert {number.model for number in main_numbers(tmp_path)} == {"vae", "real", "vae@width=8"}
    assert "width" not in summary(config, tmp_path, [])


def test_of_nothing_there_is_no_summary(config: Config, tmp_path: Path) -> None:
    assert main_numbers(tmp_path) == []
    assert summary(config, tmp_path, exhibits(config)).strip() == ""
