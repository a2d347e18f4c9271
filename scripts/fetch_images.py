from dgmpipe.jobs.job import job

with job(snakemake.log[0], snakemake.threads):
    from pathlib import Path

    from dgmpipe.config import read_config
    from dgmpipe.data.fetch import fetch_mnist
    from dgmpipe.data.images import prepare_images

    images = read_config(snakemake.config).data.images
    folder = Path(snakemake.output[0]).parent
    if snakemake.params.md5:
        fetch_mnist(folder, md5=snakemake.params.md5, folder=images.folder)
    else:
        prepare_images(folder, archive=images.archive, pictures=images.pictures)
