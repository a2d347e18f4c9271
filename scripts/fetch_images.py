from dgmpipe.jobs.job import job

with job(snakemake.log[0], snakemake.threads):
    from pathlib import Path

    from dgmpipe.data.fetch import fetch_mnist
    from dgmpipe.data.images import prepare_images

    images, folder = snakemake.config["data"]["images"], Path(snakemake.output[0]).parent
    if snakemake.params.md5:
        fetch_mnist(folder, md5=snakemake.params.md5, folder=images["folder"])
    else:
        prepare_images(folder, archive=images.get("archive"), pictures=images.get("pictures"))
