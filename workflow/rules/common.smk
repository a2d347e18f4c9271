import json
import subprocess
import sys

from dgmpipe.config import check_config
from dgmpipe.errors import UserError
from dgmpipe.models.catalog import MODELS
from dgmpipe.provenance import config_digest, source_digest
from snakemake.exceptions import WorkflowError

try:
    check_config(config, workflow.source_path("../schemas/config.schema.yaml"))
except UserError as error:
    raise WorkflowError(str(error))

RESULTS = f"results/{config['tier']}"
IMAGES = f"results/data/{config['data']['images']['name']}"
SCRIPTS = Path(workflow.basedir).parent / "scripts"


pathvars:
    results=RESULTS,
    images=IMAGES,
    logs=f"{RESULTS}/logs",
    benchmarks=f"{RESULTS}/benchmarks",


wildcard_constraints:
    model="|".join(config["models"]),
    seed="|".join(map(str, config["seeds"])),


def code(script, *modules):
    """Digest of a script and of every module that it and the named modules import.

    As a param of a rule it reruns the rule when one of these files changes, and only then.
    """
    return source_digest(SCRIPTS / script, *modules)


def training_code(wildcards):
    return code("train.py", MODELS[wildcards.model].module)


def training_dataset(wildcards):
    """What tells a model's training data apart, wherever its files come from."""
    if MODELS[wildcards.model].dataset == "images":
        return config["data"]["images"]["md5"]
    return config["data"]["moons"]["noise"]


def training_key(wildcards):
    """Name of the folder of checkpoints that this config, seed and code may continue."""
    return config_digest(
        [
            config["models"][wildcards.model],
            training_dataset(wildcards),
            training_code(wildcards),
            wildcards.seed,
        ]
    )


def training_checkpoints(wildcards):
    return f"{RESULTS}/checkpoints/{wildcards.model}/seed_{wildcards.seed}/{training_key(wildcards)}"


def training_data(wildcards):
    """The files that a model is trained on; moons are drawn anew in every batch."""
    return (
        rules.fetch_images.output if MODELS[wildcards.model].dataset == "images" else []
    )


IMAGE_MODELS = [
    model for model in config["models"] if MODELS[model].dataset == "images"
]
FLOWS = [model for model in config["models"] if MODELS[model].dataset == "moons"]

# The seed that figures are drawn from; tables have all of them.
SHOWN_SEED = config["seeds"][0]


def figures():
    """Every figure that the models of the config allow."""
    names = ["figure_02_moons", "figure_03_mnist", "figure_04_objective"]
    if "realnvp" in config["models"]:
        names += ["figure_05_realnvp"]
    if "otflow" in config["models"]:
        names += ["figure_06_otflow"]
    if "vae" in config["models"]:
        names += ["figure_07_posterior", "figure_08_latent"]
    if IMAGE_MODELS:
        names += ["figure_09_samples", "figure_10_interpolation"]
    return collect(
        "<results>/figures/{name}.{format}", name=names, format=["png", "pdf"]
    )


def tables():
    """Every table that the models of the config allow."""
    names = ["training_times"]
    if FLOWS:
        names += ["flows", "otflow_inverse_error"]
    if "vae" in config["models"]:
        names += ["vae_evidence"]
    return collect("<results>/tables/{name}.csv", name=names)


def track(event):
    """Tell MLflow that an invocation starts or ends; whatever happens there stops nothing."""
    subprocess.run(
        [sys.executable, "-m", "dgmpipe.tracking", event, "--results", RESULTS],
        input=json.dumps(config),
        text=True,
        check=False,
    )
