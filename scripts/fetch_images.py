from dgmpipe.jobs.job import job

with job(snakemake.log[0], snakemake.threads):
    from pathlib import Path

    from dgmpipe.data.fetch import fetch_mnist

    fetch_mnist(
        Path(snakemake.output[0]).parent,
        md5=snakemake.params.md5,
        folder=snakemake.config["data"]["images"]["folder"],
    )
