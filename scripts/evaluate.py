from pathlib import Path

from dgmpipe.jobs.forks import run


def folder(files):
    return Path(files[0]).parent if files else None


run(
    snakemake.config.get("tier", ""),  # of another workflow that uses this as a module
    "dgmpipe.evaluation.job:evaluate",
    {
        "function": snakemake.params.function,
        "subject": {
            "seed": int(snakemake.wildcards.seed),
            "settings": snakemake.params.model,
            "folder": folder(snakemake.input.model),
            "images": folder(snakemake.input.images),
            "judge": folder(snakemake.input.judge),
            "clusters": snakemake.params.clusters,
        },
        "settings": snakemake.params.settings,
        "outputs": dict(snakemake.output.items()),
        "threads": snakemake.threads,
    },
    imports=["dgmpipe.evaluation.job", snakemake.params.function.split(":")[0]],
    log=snakemake.log[0],
    threads=snakemake.threads,
)
