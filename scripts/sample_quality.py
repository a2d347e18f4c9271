from dgmpipe.job import job

with job(snakemake.log[0], snakemake.threads):
    from pathlib import Path

    import pandas as pd

    from dgmpipe.data.batches import to_float
    from dgmpipe.data.mnist import load_mnist
    from dgmpipe.errors import UserError
    from dgmpipe.evaluation.clusters import Clusters
    from dgmpipe.evaluation.quality import sample_quality
    from dgmpipe.evaluation.samples import evaluated_images
    from dgmpipe.files import replacing, write_json
    from dgmpipe.models.storage import load_model

    settings, seed = dict(snakemake.params.settings), int(snakemake.wildcards.seed)
    folder = Path(snakemake.input.images[0]).parent
    training, test = (to_float(load_mnist(folder, split)[0])[:, 0] for split in ("train", "t10k"))
    if settings["num_neighbours"] >= len(test):
        raise UserError(
            f"evaluation.quality.num_neighbours must be less than the {len(test):,} test images,"
            f" not {settings['num_neighbours']:,}"
        )
    model = snakemake.input.model
    quality = sample_quality(
        evaluated_images(
            Path(model[0]).parent if model else None, folder, settings.pop("num_images"), seed
        ),
        test,
        training,
        load_model(Path(snakemake.input.classifier[0]).parent),
        test_clusters=Clusters.in_order(len(test), **snakemake.params.clusters),
        **settings,
    )
    write_json(quality.numbers, snakemake.output.numbers)
    counts = pd.DataFrame(
        {"generated": quality.classes.generated, "test": quality.classes.real}
    ).rename_axis("digit")
    with replacing(snakemake.output.classes) as temporary:
        counts.to_csv(temporary)
