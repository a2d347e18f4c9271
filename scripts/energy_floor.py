from dgmpipe.jobs.job import job

with job(snakemake.log[0], snakemake.threads):
    from pathlib import Path

    from dgmpipe.data.images import load_images
    from dgmpipe.evaluation.energy_report import energy_floor
    from dgmpipe.files import save_arrays

    folder = Path(snakemake.input[0]).parent
    (training, _), (test, _) = (load_images(folder, split) for split in ("train", "t10k"))
    floor = energy_floor(
        training,
        test,
        held_out_size=snakemake.params.held_out_size,
        num_draws=snakemake.params.num_draws,
        seed=snakemake.params.seed,
    )
    save_arrays(snakemake.output[0], {"energy_distances": floor})
