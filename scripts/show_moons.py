from dgmpipe.jobs.job import job

with job(snakemake.log[0], snakemake.threads):
    from dgmpipe.data.shown import shown_moons
    from dgmpipe.files import save_arrays

    save_arrays(
        snakemake.output[0], shown_moons(**snakemake.params.moons, seed=snakemake.params.seed)
    )
