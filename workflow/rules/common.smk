import functools
import json
import subprocess
import sys
from types import SimpleNamespace

from dgmpipe.config import check_config
from dgmpipe.errors import UserError
from dgmpipe.gpus import count_gpus
from dgmpipe.locks import take_lock
from dgmpipe.models.catalog import MODELS, is_gan
from dgmpipe.provenance import config_digest, source_digest
from snakemake.exceptions import WorkflowError

try:
    check_config(config, workflow.source_path("../schemas/config.schema.yaml"))
except UserError as error:
    raise WorkflowError(str(error))

RESULTS = f"results/{config['tier']}"
IMAGES = f"results/data/{config['data']['images']['name']}"
SCRIPTS = Path(workflow.basedir).parent / "scripts"
REPORT = Path(workflow.basedir) / "report"


pathvars:
    results=RESULTS,
    images=IMAGES,
    logs=f"{RESULTS}/logs",
    benchmarks=f"{RESULTS}/benchmarks",


FLOWS, IMAGE_MODELS = (
    [model for model in config["models"] if MODELS[model].dataset == dataset]
    for dataset in ("moons", "images")
)
GANS = [model for model in IMAGE_MODELS if is_gan(model)]


# Figure 10 has a row a kind of model, as in the paper: of a GAN the one that starts from the VAE.
INTERPOLATED = [
    model
    for model in IMAGE_MODELS
    if model.replace("_random", "_vae") not in {*IMAGE_MODELS} - {model}
]

# Where images come from that are compared with the test images. Real training images show what
# a perfect generator would get.
IMAGE_SOURCES = [*IMAGE_MODELS, "real"] if IMAGE_MODELS else []
JUDGED = IMAGE_SOURCES if "classifier" in config["models"] else []

# The seed that figures are drawn from; tables have all of them.
SHOWN_SEED = config["seeds"][0]


# Without a GPU nothing limits the trainings but the number of cores.
if workflow.is_main_process and "gpu" not in workflow.global_resources:
    if gpus := count_gpus(config["device"]):
        workflow.register_resource("gpu", gpus * config["cluster"]["trainings_per_gpu"])


wildcard_constraints:
    model="|".join(config["models"]),
    source="|".join(IMAGE_SOURCES),
    seed="|".join(map(str, config["seeds"])),


def growing(amount):
    """Of a resource, as much again with every attempt."""
    return lambda wildcards, attempt: attempt * amount


def training_minutes(wildcards, attempt):
    minutes = config["cluster"]["training_minutes"]
    return attempt * minutes.get(wildcards.model, minutes["default"])


def evaluation_minutes(rule):
    minutes = config["cluster"]["evaluation_minutes"]
    return growing(minutes.get(rule, minutes["default"]))


@functools.cache
def code(script, *modules):
    """Digest of a script and of every module that it and the named modules import.

    As a param of a rule it reruns the rule when one of these files changes, and only then.
    """
    return source_digest(SCRIPTS / script, *modules)


def training_code(wildcards):
    model = MODELS[wildcards.model]
    return f"{model.task} {code('train.py', model.module)}"


def source_code(script, *modules):
    """The code of a comparison depends on the source's model as well."""

    def digest(wildcards):
        model = [MODELS[wildcards.source].module] if wildcards.source in MODELS else []
        return code(script, *model, *modules)

    return digest


def training_dataset(wildcards):
    """What tells a model's training data apart, wherever its files come from."""
    if MODELS[wildcards.model].dataset == "moons":
        return config["data"]["moons"]["noise"]
    return config["data"]["images"]["md5"]


def training_key(wildcards):
    """Name of the folder of checkpoints that this config, seed and code may continue.

    The key of a model that starts from another's generator depends on the other's key.
    """
    start = MODELS[wildcards.model].generator_from
    return config_digest(
        [
            config["models"][wildcards.model],
            training_dataset(wildcards),
            training_code(wildcards),
            wildcards.seed,
            start and training_key(SimpleNamespace(model=start, seed=wildcards.seed)),
        ]
    )


def training_checkpoints(wildcards):
    return f"{RESULTS}/checkpoints/{wildcards.model}/seed_{wildcards.seed}/{training_key(wildcards)}"


def training_data(wildcards):
    """The files that a model is trained on; moons are drawn anew in every batch."""
    return (
        [] if MODELS[wildcards.model].dataset == "moons" else rules.fetch_images.output
    )


def source_model(wildcards):
    """The trained model whose images are evaluated, unless they are real ones."""
    if wildcards.source == "real":
        return []
    return collect(rules.train.output, model=wildcards.source, seed=wildcards.seed)


def of_all_trainings(file):
    """A file of every training; of the classifier there is one, for all seeds."""
    classifier = ["classifier"] if JUDGED else []
    return [
        *collect(file, model=FLOWS + IMAGE_MODELS, seed=config["seeds"]),
        *collect(file, model=classifier, seed=SHOWN_SEED),
    ]


def initial_generator(wildcards):
    """The trained model of the same seed whose generator a model starts from, if it does."""
    start = MODELS[wildcards.model].generator_from
    return (
        collect(rules.train.output, model=start, seed=wildcards.seed) if start else []
    )


def figures():
    """Every figure that the models of the config allow."""
    names = ["figure_02_moons", "figure_03_mnist", "figure_04_objective"]
    if "realnvp" in config["models"]:
        names += ["figure_01_idea", "figure_05_realnvp"]
    if "otflow" in config["models"]:
        names += ["figure_06_otflow"]
    if "vae" in config["models"]:
        names += ["figure_07_posterior", "figure_08_latent"]
    if IMAGE_MODELS:
        names += ["figure_09_samples", "figure_10_interpolation"]
    if GANS:
        names += ["figure_11_energy_distance"]
    return collect(
        "<results>/figures/{name}.{format}", name=names, format=["png", "pdf"]
    )


def tables():
    """Every table that the models of the config allow."""
    names = ["training_times"] if FLOWS + IMAGE_MODELS else []
    if FLOWS:
        names += ["flows"]
    if "otflow" in config["models"]:
        names += ["otflow_inverse_error"]
    if "vae" in config["models"]:
        names += ["vae_evidence"]
    if IMAGE_MODELS:
        names += ["generators", "generators_summary"]
    if JUDGED:
        names += ["class_histograms"]
    return collect("<results>/tables/{name}.csv", name=names)


def caption(name):
    """Path of the text of a figure or table; `make_report` writes it with the numbers in it."""
    return str(Path(RESULTS, "captions", f"{name}.rst").resolve())


def start():
    """Keep a second Snakemake off this tier's results, and tell MLflow that an invocation starts."""
    try:
        take_lock(f".snakemake/dgmpipe-{config['tier']}.lock", patience=0)
    except TimeoutError:
        raise WorkflowError(
            f"another Snakemake is making {RESULTS} in this folder; wait until it has ended"
        )
    track("start")
    from dgmpipe.records import start_heartbeat

    start_heartbeat(Path(RESULTS, "invocation.json"))


def track(event):
    """Tell MLflow that an invocation starts or ends; whatever happens there stops nothing."""
    tell("dgmpipe.tracking", event, "--results", RESULTS)


def make_report():
    """Write report.html; should that fail, no result is lost."""
    files = {
        "results": RESULTS,
        "templates": REPORT,
        "snakefile": workflow.main_snakefile,
    }
    names = {Path(path).stem for path in [*figures(), *tables()]}
    options = [part for name, path in files.items() for part in (f"--{name}", path)]
    tell("dgmpipe.report", *options, "--names", *sorted(names))


def tell(module, *arguments):
    subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        input=json.dumps(config),
        encoding="utf-8",
        check=False,
    )
