import functools
import json
import re
import subprocess
import sys

import dgmpipe
from dgmpipe.config import read_config
from dgmpipe.config.read import check_files
from dgmpipe.errors import UserError
from dgmpipe.jobs.gpus import count_gpus
from dgmpipe.jobs.locks import take_lock
from dgmpipe.plan.companion import companion_files, companion_params
from dgmpipe.plan.digests import source_digest
from dgmpipe.plan.evaluations import EVALUATIONS, REAL, subjects
from dgmpipe.plan.exhibits import exhibits, figure_of_model, study_exhibits
from dgmpipe.plan.trainings import (
    core_hours,
    data_digest,
    effective_settings,
    image_folder,
    levels,
    training_key,
    trainings,
)
from dgmpipe.tracking.records import start_heartbeat
from snakemake.exceptions import WorkflowError

# The code beside this file, unless the workflow was fetched without it.
HERE = Path(workflow.current_basedir.get_path_or_uri(secret_free=True))
BESIDE = HERE.parents[1] / "src/dgmpipe"
if BESIDE.is_dir() and not BESIDE.samefile(Path(dgmpipe.__file__).parent):
    raise WorkflowError(
        f"this workflow's code is {BESIDE}, but {sys.executable} imports that of"
        f" {Path(dgmpipe.__file__).parent}; run `make all` here, or install this folder into that"
        " environment: pip install --editable ."
    )

try:
    check_files(workflow.configfiles)
    CONFIG = read_config(config)
    EXHIBITS = exhibits(CONFIG)
    DATA_DIGESTS = {model: data_digest(CONFIG, model) for model in CONFIG.models}
    IMAGES = f"results/data/{image_folder(CONFIG)}"
except UserError as error:
    raise WorkflowError(str(error))

RESULTS = f"results/{CONFIG.tier}"
REPORT = HERE.parent / "report"

# The seed that figures are drawn from; tables have all of them.
SHOWN_SEED = CONFIG.seeds[0]


pathvars:
    results=RESULTS,
    images=IMAGES,
    logs=f"{RESULTS}/logs",
    benchmarks=f"{RESULTS}/benchmarks",


# Without a GPU nothing limits the trainings but the number of cores.
if workflow.is_main_process and "gpu" not in workflow.global_resources:
    if gpus := count_gpus(CONFIG.device):
        workflow.register_resource("gpu", gpus * CONFIG.cluster.trainings_per_gpu)


wildcard_constraints:
    seed="|".join(map(str, CONFIG.seeds)),


def alternatives(models):
    """A wildcard constraint that allows these models and no others."""
    return "|".join(map(re.escape, models))


def growing(amount):
    """Of a resource, as much again with every attempt."""
    return lambda wildcards, attempt: attempt * amount


def training_minutes(wildcards, attempt):
    """Of the model, of the model that it is a point of, or of its kind."""
    minutes = CONFIG.cluster.training_minutes
    model = wildcards.model
    names = (model, model.split("@")[0], CONFIG.models[model].kind, "default")
    return attempt * next(minutes[name] for name in names if name in minutes)


def evaluation_minutes(evaluation):
    minutes = CONFIG.cluster.evaluation_minutes
    return growing(minutes.get(evaluation, minutes["default"]))


code = functools.cache(source_digest)


def training_code(model):
    kind = CONFIG.kind(model)
    return f"{kind.task} {code('dgmpipe.training.run', kind.module, training=True)}"


@functools.cache
def training_codes():
    return {model: training_code(model) for model in CONFIG.models}


def key_of(wildcards):
    return training_key(CONFIG, wildcards.model, int(wildcards.seed), training_codes())


def checkpoints_of(wildcards):
    return f"{RESULTS}/checkpoints/{wildcards.model}/seed_{wildcards.seed}/{key_of(wildcards)}"


def subject_code(evaluation):
    """The code of an evaluation depends on the model's as well."""

    def digest(wildcards):
        model = wildcards.model
        modules = [] if model == REAL else [CONFIG.kind(model).module]
        return code(evaluation.module, *modules)

    return digest


def trained(file, model, seed):
    return f"<results>/models/{model}/seed_{seed}/{file}"


def trained_files(file):
    """A file of every training."""
    return [trained(file, model, seed) for model, seed in trainings(CONFIG)]


def training_data(wildcards):
    """The files that a model is trained on; moons are drawn anew in every batch."""
    if CONFIG.kind(wildcards.model).data != "points":
        return rules.fetch_images.output
    data = CONFIG.setting(wildcards.model, "data")
    return [] if data == "moons" else [data]


def training_start(wildcards):
    """The trained model of the same seed whose generator a model starts from, if it does."""
    start = CONFIG.models[wildcards.model].start
    return [trained("model.safetensors", start, wildcards.seed)] if start else []


def subject_model(wildcards):
    """The trained model that is evaluated, unless it is real images in its place."""
    if wildcards.model == REAL:
        return []
    return [trained("model.safetensors", wildcards.model, wildcards.seed)]


def judge_of(evaluation):
    """The trained classifier, for an evaluation that asks it."""
    if not evaluation.judged:
        return []
    return [
        trained("model.safetensors", m, SHOWN_SEED) for m in CONFIG.of_family("judge")
    ]


def settings_of(wildcards):
    model = wildcards.model
    return {} if model == REAL else effective_settings(CONFIG, model)


def asked_figure(wildcards):
    return figure_of_model(
        CONFIG, wildcards.figure, wildcards.model, int(wildcards.seed)
    )


def exhibit_files(wanted):
    return [
        f"<results>/{file}" for exhibit in wanted for file in exhibit.outputs.values()
    ]


def caption(name):
    """Path of the text of a figure or table; `make_report` writes it with the numbers in it."""
    return str(Path(RESULTS, "captions", f"{name}.rst").resolve())


def start():
    """Keep a second Snakemake off this tier's results, and say what the invocation will do."""
    try:
        take_lock(f".snakemake/dgmpipe-{CONFIG.tier}.lock", patience=0)
    except TimeoutError:
        raise WorkflowError(
            f"another Snakemake is making {RESULTS} in this folder; wait until it has ended"
        )
    jobs = [
        job for job in workflow.dag.needrun_jobs() if job.rule.name.startswith("train")
    ]
    if planned := [
        (job.wildcards.model, job.wildcards.seed) for job in jobs if job.wildcards
    ]:
        hours = core_hours(CONFIG, planned, Path("results"))
        print(
            f"{len(planned)} trainings, about {hours:.1f} core hours without evaluations",
            file=sys.stderr,
        )
    track("start")
    start_heartbeat(Path(RESULTS, "invocation.json"))


def track(event):
    """Tell MLflow that an invocation starts or ends; whatever happens there stops nothing."""
    tell("dgmpipe.tracking.runs", event, "--results", RESULTS)


def make_report():
    """Write report.html; should that fail, no result is lost."""
    files = {
        "results": RESULTS,
        "templates": REPORT,
        "snakefile": workflow.main_snakefile,
    }
    tell(
        "dgmpipe.pages.report",
        *(part for name, path in files.items() for part in (f"--{name}", path)),
    )


def tell(module, *arguments):
    subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        input=json.dumps(config),
        encoding="utf-8",
        check=False,
    )
