from dgmpipe.job import job

with job(snakemake.log[0], snakemake.threads):
    from pathlib import Path

    from dgmpipe.data.mnist import load_mnist
    from dgmpipe.evaluation.posterior import compare_posteriors
    from dgmpipe.files import save_arrays
    from dgmpipe.models.storage import load_model

    vae = load_model(Path(snakemake.input.model[0]).parent)
    images, labels = load_mnist(Path(snakemake.input.images[0]).parent, "t10k")
    settings = snakemake.params.settings
    arrays = compare_posteriors(
        vae,
        images,
        labels,
        settings["images"],
        limit=settings["limit"],
        resolution=settings["resolution"],
    )
    save_arrays(snakemake.output[0], arrays)
