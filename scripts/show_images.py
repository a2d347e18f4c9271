from dgmpipe.jobs.job import job

with job(snakemake.log[0], snakemake.threads):
    from pathlib import Path

    from dgmpipe.data.shown import shown_images
    from dgmpipe.files import save_arrays

    arrays = shown_images(
        Path(snakemake.input[0]).parent,
        num_images=snakemake.params.num_images,
        seed=snakemake.params.seed,
    )
    save_arrays(snakemake.output[0], arrays)
