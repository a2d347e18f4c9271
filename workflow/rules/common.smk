import functools
import json
import logging
import os
import re
import sys

import dgmpipe
from dgmpipe.commands.run import project_folder
from dgmpipe.config import read_config
from dgmpipe.config.read import check_files
from dgmpipe.errors import UserError
from dgmpipe.jobs import forks
from dgmpipe.jobs.gpus import count_gpus
from dgmpipe.jobs.locks import take_lock
from dgmpipe.plan.companion import companion_files, companion_params
from dgmpipe.plan.digests import source_digest
from dgmpipe.plan.evaluations import EVALUATIONS, REAL, subjects
from dgmpipe.plan.exhibits import (
    exhibits,
    figure_of_model,
    prior_exhibits,
    study_exhibits,
)
from dgmpipe.plan.released import find_released, why_not_released
from dgmpipe.plan.schedule import Plan, Schedule
from dgmpipe.plan.summary import summary
from dgmpipe.plan.trainings import (
    data_digest,
    effective_settings,
    image_folder,
    levels,
    training_code,
    training_key,
    trainings,
)
from dgmpipe.tracking.records import start_heartbeat
from dgmpipe.tracking.runs import continue_invocation, end_invocation
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

# The code that this file is with, in a clone or in an installed package, unless the workflow was
# fetched without it.
HERE = Path(workflow.current_basedir.get_path_or_uri(secret_free=True))
PROJECT, PACKAGE = HERE.parents[1], Path(dgmpipe.__file__).parent
for beside, remedy in (
    (
        PROJECT / "src/dgmpipe",
        "run `make all` here, or install this folder into that environment:"
        " pip install --editable .",
    ),
    (PROJECT.parent, "run `dgmpipe run` of the environment that has this workflow"),
):
    if (beside / "plan/digests.py").is_file() and not beside.samefile(PACKAGE):
        raise WorkflowError(
            f"this workflow's code is {beside}, but {sys.executable} imports that of"
            f" {PACKAGE}; {remedy}"
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
REPORT = (PROJECT if PROJECT.is_dir() else project_folder()) / "workflow/report"
INVOCATION = Path(RESULTS, "invocation.json")
# Whether this invocation only draws figures and tables anew, of which MLflow is told later.
REDRAWS = False

# The seed that figures are drawn from; tables have all of them.
SHOWN_SEED = CONFIG.shown_seed


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
    seed="|".join(map(str, CONFIG.all_seeds)),


def alternatives(models):
    """A wildcard constraint that allows these models and no others.

    Where it allows all points of a model it does not list them: Snakemake reads it for each job.
    """
    points = {model.split("@")[0] for model in CONFIG.models if "@" in model}
    others = {model.split("@")[0] for model in CONFIG.models.keys() - set(models)}
    whole = points - others
    patterns = [re.escape(m) for m in models if m.split("@")[0] not in whole]
    patterns += [f"{re.escape(model)}(?:@[^/]+)?" for model in sorted(whole)]
    return "|".join(patterns)


def named(wildcards):
    """The model of a job, which a constraint may not have checked."""
    model = wildcards.model
    if model != REAL and model not in CONFIG.models:
        raise WorkflowError(f"the config has no model {model}")
    return model


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


@functools.cache
def training_codes():
    return {model: training_code(CONFIG, model) for model in CONFIG.models}


def key(model, seed):
    return training_key(CONFIG, model, seed, training_codes())


def key_of(wildcards):
    return key(wildcards.model, int(wildcards.seed))


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
    if CONFIG.kind(named(wildcards)).data != "points":
        return rules.fetch_images.output
    data = CONFIG.setting(wildcards.model, "data")
    return [] if data == "moons" else [data]


def training_start(wildcards):
    """The trained model of the same seed whose generator a model starts from, if it does."""
    start = CONFIG.models[wildcards.model].start
    return [trained("model.safetensors", start, wildcards.seed)] if start else []


def subject_model(wildcards):
    """The trained model that is evaluated, unless it is real images in its place."""
    if named(wildcards) == REAL:
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
        CONFIG, wildcards.figure, named(wildcards), int(wildcards.seed)
    )


def exhibit_files(wanted):
    return [
        f"<results>/{file}" for exhibit in wanted for file in exhibit.outputs.values()
    ]


def caption(name):
    """Path of a figure's or table's text for Snakemake's own report; `make_report` writes it."""
    return str(Path(RESULTS, "captions", f"{name}.rst").resolve())


def start():
    """Keep a second Snakemake off this tier's results, and say what the invocation will do."""
    try:
        take_lock(f".snakemake/dgmpipe-{CONFIG.tier}.lock", patience=0)
    except TimeoutError:
        raise WorkflowError(
            f"another Snakemake is making {RESULTS} in this folder; wait until it has ended"
        )
    forks.start(CONFIG.tier)
    plan = announce()
    global REDRAWS
    REDRAWS = plan.only_draws and continue_invocation(CONFIG.tier, config, INVOCATION)
    if not REDRAWS:
        tell_mlflow("start")
    start_heartbeat(INVOCATION)


def announce():
    """Say how much there is to train, and to the screen which jobs there are; return the plan."""
    released = {
        t for t in trainings(CONFIG) if CONFIG.released and find_released(key(*t))
    }
    dag, schedule = workflow.dag, Schedule(CONFIG, Path("results"), released)
    jobs = {}
    for job in dag.jobs:
        number = dag.jobid(job)
        planned = schedule.job(
            number,
            job.rule.name,
            job.wildcards_dict,
            after=frozenset(map(dag.jobid, dag.job_dependencies(job))),
            stands=not dag.needrun(job),
        )
        if planned:
            jobs[number] = planned
    gpus = workflow.global_resources.get("gpu")  # a number, or one with its unit
    plan = Plan(
        CONFIG.tier,
        jobs,
        cores=workflow.cores if workflow.local_exec else workflow.nodes,
        gpus=getattr(gpus, "value", gpus),
    )
    logger.info(plan.sentence(), extra={"news": "plan", "plan": plan})
    if CONFIG.released:
        say_what_is_released(dag.needrun_jobs(), released)
    return plan


def say_what_is_released(jobs, released):
    """Say how many trainings are copied from released ones, and why the others are not."""
    wanted = [
        (job.wildcards.model, int(job.wildcards.seed))
        for job in jobs
        if job.rule.name.startswith("train") and "seed" in job.wildcards_dict
    ]
    others = [training for training in wanted if training not in released]
    said = [f"{len(wanted) - len(others)} released trainings are taken as they are"]
    said += [why_not_released(CONFIG, *training) for training in others]
    for line in said if wanted else []:
        logger.info(line, extra={"news": "notice"})


def finish(event):
    """Make the report, copy what is new to MLflow and say what has come out."""
    make_report()
    if REDRAWS:
        end_invocation(event.upper(), INVOCATION)
    else:
        tell_mlflow(event)
    text = summary(CONFIG, Path(RESULTS), EXHIBITS) if event == "finished" else ""
    logger.info(text, extra={"news": "summary"})


def make_report():
    """Write report.html if it lacks anything; should that fail, no result is lost."""
    shown = [Path(RESULTS, f) for e in EXHIBITS for f in e.outputs.values()]
    times = [path.stat().st_mtime for path in shown if path.exists()]
    page = Path(RESULTS, "report.html")
    if page.exists() and page.stat().st_mtime > max(times, default=0):
        return
    tell(
        "making the report",
        "dgmpipe.pages.report",
        [RESULTS, "--templates", str(REPORT)],
    )


def tell_mlflow(event):
    imports = ["dgmpipe.tracking.mlflow_copy"]
    if not os.environ.get("MLFLOW_TRACKING_URI", "").startswith("http"):
        # MLflow imports it when it opens a database, for seconds.
        imports.append("mlflow.store.tracking.sqlalchemy_store")
    tell(
        "telling MLflow",
        "dgmpipe.tracking.runs",
        [event, "--results", RESULTS, "--pid", str(os.getpid())],
        imports=imports,
    )


def tell(doing, program, arguments, imports=()):
    """Run a module and pass on what it says; whatever happens there stops nothing."""
    logger.info(doing, extra={"news": "doing"})
    said = forks.run_module(
        CONFIG.tier,
        program,
        arguments,
        imports=[program, *imports],
        given=json.dumps(config),
    )
    for line in said.splitlines():
        level = logging.WARNING if line.startswith("warning") else logging.INFO
        logger.log(level, line, extra={"news": "notice"})
    logger.info("", extra={"news": "doing"})
