from dgmpipe.job import job

with job(snakemake.log[0], snakemake.threads):
    from pathlib import Path

    from dgmpipe.evaluation.samples import interpolate, sample_images
    from dgmpipe.files import save_arrays
    from dgmpipe.models.storage import load_model
    from dgmpipe.streams import random_stream

    settings, seed = snakemake.params.settings, int(snakemake.wildcards.seed)
    generator = load_model(Path(snakemake.input[0]).parent).generator
    noise = random_stream(seed, "shown samples")
    save_arrays(
        snakemake.output[0],
        {
            "samples": sample_images(generator, settings["num_images"], noise),
            "interpolation": interpolate(generator, settings["interpolation_steps"]),
        },
    )
